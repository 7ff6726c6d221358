import ArgumentParser
import Dispatch
import InitramfsKit
import Logging
import MandosCore
import MandosFormats
import MandosServer
import MandosTLS
import ServiceLifecycle
import Synchronization
import UnixSignals

@main struct Mandos: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos",
        abstract: "Give each client that proves its key its own encrypted password.",
        discussion:
            "Clients are listed in clients.conf; see mandos-clients.conf(5). Every option overrides mandos.conf.",
        version: "mandos \(mandosVersion)")

    @Option(name: .shortAndLong, help: "Serve on this network interface only.")
    var interface: String?

    @Option(name: .shortAndLong, help: "Serve on this address only; IPv6, unless --no-ipv6.")
    var address: String?

    @Option(name: .shortAndLong, help: "Port to serve on. (default: one that is free)")
    var port: UInt16?

    @Flag(help: "Stay in the foreground and tell everything that happens.")
    var debug = false

    @Option(
        name: .customLong("debuglevel"),
        help: "How much to tell: \(ServerSettings.DebugLevel.list). (default: WARNING)",
        transform: { text throws in
            guard let level = ServerSettings.DebugLevel(text) else {
                throw ValidationError("it is one of \(ServerSettings.DebugLevel.list)")
            }
            return level
        })
    var debugLevel: ServerSettings.DebugLevel?

    @Option(help: "GnuTLS priority string; see gnutls_priority_init(3).")
    var priority: String?

    @Option(name: .customLong("configdir"), help: "Directory of the configuration files.")
    var configurationDirectory = "/etc/mandos"

    @Flag(name: .customLong("no-dbus"), help: "Do without the D-Bus interface.")
    var noDBus = false

    @Flag(name: .customLong("no-ipv6"), help: "Use IPv4 only; not recommended.")
    var noIPv6 = false

    @Flag(name: .customLong("no-restore"), help: "Put the saved state aside and begin with what clients.conf says.")
    var noRestore = false

    @Option(name: .customLong("statedir"), help: "Directory of the saved state. (default: /var/lib/mandos)")
    var stateDirectory: String?

    @Option(help: "Use this open file descriptor, a listening socket, instead of an address and a port.")
    var socket: Int32?

    @Flag(help: "Stay in the foreground.")
    var foreground = false

    @Flag(name: .customLong("no-zeroconf"), help: "Do not announce the server; needs a port or a socket.")
    var noZeroconf = false

    func validate() throws {
        if port == 0 { throw ValidationError("a port is a number from 1 to 65535; leave --port out for any free one") }
    }

    func run() throws {
        let configuration = loadConfiguration()
        let settings = overridden(configuration.server)
        refuseWhatIsMissing(settings)
        // Who started us waits as long as this lives: also until we have said what went wrong.
        var daemon: Daemon?
        do {
            try start(configuration, settings, &daemon)
        } catch {
            Self.stop("\(error)", status: .osError)
        }
    }

    /// The order matters: what needs root comes before it is given up, and threads come after the forks.
    private func start(
        _ configuration: Configuration, _ settings: ServerSettings, _ daemon: inout Daemon?
    ) throws {
        let priority = try Priority(settings.priority ?? Priority.standard)
        let spareDescriptors = ResourceLimits.raiseOpenFiles()
        let socket = try ListeningSocket.open(settings) { complain("mandos", "\($0)") }
        var processIDFile: ProcessIDFile?
        if !settings.foreground {
            processIDFile = try ProcessIDFile()
            daemon = try Daemon.begin()
        }
        try Privileges.drop(stateDirectory: settings.stateDirectory)
        let logger = makeLogger(settings)
        for warning in configuration.warnings { logger.warning("\(warning)") }
        warnOfWhatIsMissing(settings, logger)
        let store = try openState(settings, logger)
        let registry = try Registry(
            configuration.clients, .init(store: store, checkers: CheckerRunner(), logger: logger))
        let listener = try Listener(
            socket: socket, registry: registry, priority: priority, spareDescriptors: spareDescriptors, logger: logger)
        returnFreeMemory()
        try processIDFile?.write()
        if let daemon = daemon.take() { try daemon.isReady() }
        let quiet = Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }
        try serve(
            ServiceGroup(
                services: [registry, listener], gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        processIDFile = nil
    }

    /// Waits for the services on the main thread: an asynchronous `main` would end that thread, and what is left of it
    /// would keep root's identity for all to see.
    private func serve(_ services: ServiceGroup) throws {
        let failure = Mutex<(any Error)?>(nil)
        let ended = DispatchSemaphore(value: 0)
        Task {
            do {
                try await services.run()
            } catch {
                failure.withLock { $0 = error }
            }
            ended.signal()
        }
        ended.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    private func loadConfiguration() -> Configuration {
        do throws(ConfigProblems) {
            return try Configuration.load(directory: configurationDirectory)
        } catch {
            Self.stop(error.problems.map(\.description), status: .configuration)
        }
    }

    private func overridden(_ configured: ServerSettings) -> ServerSettings {
        var settings = configured
        settings.interface = interface ?? settings.interface
        settings.address = address ?? settings.address
        settings.port = port ?? settings.port
        settings.debug = debug || settings.debug
        settings.debugLevel = debugLevel ?? settings.debugLevel
        settings.priority = priority ?? settings.priority
        settings.socket = socket ?? settings.socket
        settings.foreground = foreground || settings.foreground || settings.debug
        settings.stateDirectory = stateDirectory ?? settings.stateDirectory
        if noDBus { settings.useDBus = false }
        if noRestore { settings.restore = false }
        if noIPv6 { settings.useIPv6 = false }
        if noZeroconf { settings.zeroconf = false }
        return settings
    }

    private func openState(_ settings: ServerSettings, _ logger: Logger) throws(StateStoreError) -> SQLiteStateStore {
        if !settings.restore, let old = try SQLiteStateStore.putAside(directory: settings.stateDirectory) {
            logger.warning("saved state put aside: clients are as clients.conf says", metadata: ["file": "\(old)"])
        }
        return try SQLiteStateStore(directory: settings.stateDirectory)
    }

    private func refuseWhatIsMissing(_ settings: ServerSettings) {
        if !settings.zeroconf && settings.port == nil && settings.socket == nil {
            Self.stop("without Zeroconf nobody finds an arbitrary port; add --port or --socket", status: .usage)
        }
    }

    private func warnOfWhatIsMissing(_ settings: ServerSettings, _ logger: Logger) {
        if settings.useDBus { logger.warning("this version has no D-Bus interface yet; --no-dbus silences this") }
        if settings.zeroconf {
            logger.warning(
                "this version does not announce itself yet: clients need --connect; --no-zeroconf silences this")
        }
    }

    private func makeLogger(_ settings: ServerSettings) -> Logger {
        var logger = Logger(label: "mandos") { label in
            if !settings.foreground { return SyslogHandler() }
            let console = StreamLogHandler.standardError(label: label)
            return settings.debug ? MultiplexLogHandler([console, SyslogHandler()]) : console
        }
        logger.logLevel =
            switch settings.debug ? .debug : settings.debugLevel {
            case .critical: .critical
            case .error: .error
            case .warning: .warning
            case .info: .info
            case .debug: .debug
            }
        return logger
    }

    private static func stop(_ messages: String..., status: ExitStatus) -> Never { stop(messages, status: status) }

    private static func stop(_ messages: [String], status: ExitStatus) -> Never {
        for message in messages { complain("mandos", message) }
        status.exit()
    }
}
