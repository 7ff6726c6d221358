import ArgumentParser
import Dispatch
import FoundationEssentials
import Glibc
import Logging
import MandosCore
import MandosFormats
import MandosServer
import MandosTLS
import POSIXKit
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

    @Flag(help: "See whether this program, the configuration and the saved state work, and exit.")
    var check = false

    @Flag(help: "Stay in the foreground and tell everything that happens.")
    var debug = false

    @Option(
        name: .customLong("debuglevel"),
        help: ArgumentHelp(
            "How much to tell: CRITICAL, ERROR, WARNING, INFO or DEBUG; or for parts of the server, as in"
                + " checker=DEBUG,tls=ERROR. (default: WARNING)", valueName: "level"),
        transform: { text throws in
            do throws(LogLevels.SyntaxError) {
                return try LogLevels(parsing: text)
            } catch {
                throw ValidationError("\(error)")
            }
        })
    var logLevels: LogLevels?

    @Option(help: "GnuTLS priority string; see gnutls_priority_init(3).")
    var priority: String?

    @Option(name: .customLong("servicename"), help: "Name to announce the server under. (default: Mandos)")
    var serviceName: String?

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
        Hardening.protectProcess()
        if check { SelfTest(configurationDirectory: configurationDirectory, override: override).run() }
        // A reload that is asked for too early is of no use, and should do no harm.
        ignoreSignal(SIGHUP)
        var daemon: Daemon?
        do {
            // First of all, so that it has nothing of ours.
            let reader = try ConfigurationReader(directory: Self.absolute(configurationDirectory))
            let configuration = loadConfiguration()
            var settings = override(configuration.server)
            settings.socket = try settings.socket ?? socketFromServiceManager()
            refuseWhatIsMissing(settings)
            try start(configuration, settings, reader, &daemon)
        } catch {
            complain("mandos", "\(error)")
            // Who started us waits until here; without a use of it, it would end before this is said.
            daemon = nil
            ExitStatus.osError.exit()
        }
    }

    /// The order matters: what needs root comes before it is given up, and threads come after the forks.
    private func start(
        _ configuration: Configuration, _ settings: ServerSettings, _ reader: ConfigurationReader,
        _ daemon: inout Daemon?
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
        let queue = try LogQueue(to: sinks(settings))
        defer { queue.finish() }
        let log = Log(settings.logLevels, to: [queue])
        for warning in configuration.warnings { log[.configuration].warning("\(warning)") }
        // Dispatch makes the descriptors of its timers at the first one, and stops the program if there are none left by then.
        try waiting { try await Task.sleep(for: .milliseconds(1)) }
        let store = try openState(settings, log[.state])
        let checkers = try CheckerRunner(logger: log[.checker])
        let registry = try Registry(
            configuration.clients, defaults: configuration.defaults,
            .init(store: store, checkers: checkers, log: log, spareDescriptors: spareDescriptors))
        let listener = try Listener(
            socket: socket, registry: registry, priority: priority, spareDescriptors: spareDescriptors, log: log)
        let reloader = Reloader(
            at: try waiting { await UnixSignalsSequence(trapping: .sighup) }, reader, registry, log,
            running: override(configuration.server), override: override)
        var services: [any Service] = [registry, listener, reloader]
        if settings.zeroconf { services.append(AvahiPublisher(settings, port: socket.port, log)) }
        if settings.useDBus {
            let facts = ServerFacts(socket, interface: settings.interface)
            services.append(BusService(registry, facts, log, reloader))
        }
        if let interval = ServiceManager.watchdogInterval { services.append(Watchdog(every: interval, registry)) }
        let group = ServiceGroup(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() })
        returnFreeMemory()
        try processIDFile?.write()
        if let daemon = daemon.take() { try daemon.isReady() }
        ServiceManager.tell(.ready, .status("serving \(configuration.clients.count) clients"))
        try waiting { try await group.run() }
        ServiceManager.tell(.stopping)
        processIDFile = nil
    }

    /// Waits for `body` on the main thread: an asynchronous `main` would end that thread, and what is left of it would
    /// keep root's identity for all to see.
    private func waiting<Success: Sendable>(for body: @escaping @Sendable () async throws -> Success) throws -> Success
    {
        let result = Mutex<Result<Success, any Error>?>(nil)
        let ended = DispatchSemaphore(value: 0)
        Task {
            do {
                let success = try await body()
                result.withLock { $0 = .success(success) }
            } catch {
                result.withLock { $0 = .failure(error) }
            }
            ended.signal()
        }
        ended.wait()
        guard let result = result.withLock({ $0 }) else {
            preconditionFailure("the task has signalled without a result")
        }
        return try result.get()
    }

    private func loadConfiguration() -> Configuration {
        do throws(ConfigProblems) {
            return try Configuration.load(directory: configurationDirectory)
        } catch {
            Self.stop(error.problems.map(\.description), status: .configuration)
        }
    }

    /// What holds: the command line, else mandos.conf.
    private func override(_ configured: ServerSettings) -> ServerSettings {
        var settings = configured
        settings.interface = interface ?? settings.interface
        settings.address = address ?? settings.address
        settings.port = port ?? settings.port
        settings.debug = debug || settings.debug
        settings.logLevels = logLevels ?? settings.logLevels
        if settings.debug { settings.logLevels.standard = .debug }
        settings.serviceName = serviceName ?? settings.serviceName
        settings.priority = priority ?? settings.priority
        settings.socket = socket ?? settings.socket
        settings.foreground = foreground || settings.foreground || settings.debug
        settings.stateDirectory = stateDirectory ?? settings.stateDirectory
        settings.stateDirectory = Self.absolute(settings.stateDirectory)
        if noDBus { settings.useDBus = false }
        if noRestore { settings.restore = false }
        if noIPv6 { settings.useIPv6 = false }
        if noZeroconf { settings.zeroconf = false }
        return settings
    }

    /// A daemon leaves the directory that it is started in.
    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    private func openState(_ settings: ServerSettings, _ logger: Logger) throws(StateStoreError) -> SQLiteStateStore {
        if !settings.restore, let old = try SQLiteStateStore.putAside(directory: settings.stateDirectory) {
            logger.warning("saved state put aside: clients are as clients.conf says", metadata: ["file": "\(old)"])
        }
        return try SQLiteStateStore(directory: settings.stateDirectory)
    }

    /// Source: sd_listen_fds(3); systemd.socket(5).
    private func socketFromServiceManager() throws -> Int32? {
        let sockets = ServiceManager.takeSockets()
        guard sockets.count <= 1 else {
            throw ValidationError("systemd gave \(sockets.count) sockets; leave one ListenStream= in mandos.socket")
        }
        return sockets.first
    }

    private func refuseWhatIsMissing(_ settings: ServerSettings) {
        if !settings.zeroconf && settings.port == nil && settings.socket == nil {
            Self.stop("without Zeroconf nobody finds an arbitrary port; add --port or --socket", status: .usage)
        }
    }

    /// Source: mandos(8), LOGGING and `--debug`.
    private func sinks(_ settings: ServerSettings) -> [any LogSink] {
        guard settings.foreground else { return [SyslogSink()] }
        if let journal = JournalSink() { return [journal] }
        return settings.debug ? [StandardErrorSink(), SyslogSink()] : [StandardErrorSink()]
    }

    private static func stop(_ messages: String..., status: ExitStatus) -> Never { stop(messages, status: status) }

    private static func stop(_ messages: [String], status: ExitStatus) -> Never {
        for message in messages { complain("mandos", message) }
        status.exit()
    }
}
