import ArgumentParser
import Dispatch
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

/// Starts the server and waits for its end.
///
/// The order matters: forks come before threads, and the steps that need root come before root is given up.
struct ServerStart {
    let configurationDirectory: String
    let options: ServerOptions

    /// Returns when the server was told to stop; exits if it cannot start.
    func run() {
        // A SIGHUP before the server can reload does nothing.
        ignoreSignal(SIGHUP)
        var daemon: Daemon?
        do {
            // First, so that these processes share no memory or descriptor with the steps below.
            let reader = try ConfigurationReader(directory: options.absolute(configurationDirectory))
            let checkers = try CheckerProcess.start(as: .checkers)
            let configuration = loadConfiguration()
            var settings = options.applied(to: configuration.server)
            settings.socket = try settings.socket ?? socketFromServiceManager()
            refuseUnfindableServer(settings)
            try serve(configuration, settings, reader, checkers, &daemon)
        } catch {
            complain("mandos", "\(error)")
            // Not earlier: the program that was started waits for the end of `daemon`, and the message comes first.
            daemon = nil
            // systemd then starts the server again: what is missing, such as an interface, may come later.
            ExitStatus.osError.exit()
        }
    }

    private func serve(
        _ configuration: Configuration, _ settings: ServerSettings, _ reader: ConfigurationReader,
        _ checkerProcess: consuming CheckerProcess, _ daemon: inout Daemon?
    ) throws {
        let priority = try Priority(settings.priority ?? Priority.standard)
        let spareDescriptors = ResourceLimits.raiseOpenFiles()
        let socket = try ListeningSocket.open(settings)
        var pidFile: PIDFile?
        if !settings.foreground {
            pidFile = try lockPIDFile()
            daemon = try Daemon.begin()
        }
        let accountWarning = Account.warning
        try Privileges.drop(stateDirectory: settings.stateDirectory)

        let logQueue = try LogQueue(to: sinks(settings))
        defer { logQueue.finish() }
        let log = Log(settings.logLevels, to: [logQueue])
        for warning in configuration.warnings { log[.configuration].warning("\(warning)") }
        if let accountWarning { log[.checker].warning("\(accountWarning)") }
        // Makes Dispatch open the descriptors of its timers now: it crashes if it cannot open them later.
        try waiting { try await Task.sleep(for: .milliseconds(1)) }
        let checkers = CheckerRunner(checkerProcess, logger: log[.checker])
        let registry = try registry(configuration, settings, checkers, spareDescriptors, log)
        let listener = try Listener(
            socket: socket, registry: registry, priority: priority, spareDescriptors: spareDescriptors, log: log)
        let reloader = Reloader(
            at: try waiting { await UnixSignalsSequence(trapping: .sighup) }, reader, registry, log,
            running: options.applied(to: configuration.server), override: options.applied)
        let services: [any Service] = [checkers, registry, listener, reloader]
        let group = serviceGroup(services + optionalServices(settings, socket, registry, reloader, log))
        returnFreeMemory()
        try pidFile?.write()
        if let daemon = daemon.take() { try daemon.isReady() }
        ServiceManager.notify(.ready, .status("serving \(configuration.clients.count) clients"))
        try waiting { try await group.run() }
        ServiceManager.notify(.stopping)
        pidFile = nil
    }

    private func loadConfiguration() -> Configuration {
        do throws(ConfigProblems) {
            return try Configuration.load(directory: configurationDirectory)
        } catch {
            for problem in error.problems { complain("mandos", "\(problem)") }
            complain("mandos", error.mayPass ? Self.retryAdvice : Self.mistakeAdvice)
            error.exitStatus.exit()
        }
    }

    private static let retryAdvice =
        "not started: not all files could be read; systemd tries again soon, otherwise start the server again"
    private static let mistakeAdvice =
        "not started, and systemd does not try again: fix the errors above, then start the server"

    /// Source: mandos(8), FILES.
    private func lockPIDFile() throws -> PIDFile {
        do throws(SystemError) {
            return try PIDFile.open("mandos.pid")
        } catch {
            guard error.isHeldByAnother else { throw error }
            throw ValidationError("\(error): a server runs in the background already; stop that, or use --foreground")
        }
    }

    /// Source: sd_listen_fds(3); systemd.socket(5).
    private func socketFromServiceManager() throws(ValidationError) -> Int32? {
        let sockets = ServiceManager.takeSockets()
        guard sockets.count <= 1 else {
            throw ValidationError("systemd passed \(sockets.count) sockets; leave one ListenStream= in mandos.socket")
        }
        return sockets.first
    }

    private func refuseUnfindableServer(_ settings: ServerSettings) {
        guard !settings.zeroconf && settings.port == nil && settings.socket == nil else { return }
        complain("mandos", "without Zeroconf no client finds an arbitrary port; add --port or --socket")
        ExitStatus.usage.exit()
    }

    /// Source: mandos(8), LOGGING and `--debug`.
    private func sinks(_ settings: ServerSettings) -> [any LogSink] {
        guard settings.foreground else { return [SyslogSink()] }
        if let journal = JournalSink() { return [journal] }
        return settings.debug ? [StandardErrorSink(), SyslogSink()] : [StandardErrorSink()]
    }

    /// The clients with their saved state.
    private func registry(
        _ configuration: Configuration, _ settings: ServerSettings, _ checkers: CheckerRunner, _ spareDescriptors: Int,
        _ log: Log
    ) throws -> Registry {
        let directory = settings.stateDirectory
        if !settings.restore, let old = try SQLiteStateStore.putAside(directory: directory) {
            log[.state].warning("saved state put aside: clients are as clients.conf says", metadata: ["file": "\(old)"])
        }
        let store = try SQLiteStateStore(directory: directory)
        if case .new = store.origin {
            log[.state].warning(
                "no state was saved yet: clients are as clients.conf says", metadata: ["directory": "\(directory)"])
        }
        return try Registry(
            configuration.clients, defaults: configuration.defaults,
            .init(store: store, checkers: checkers, log: log, spareDescriptors: spareDescriptors))
    }

    private func optionalServices(
        _ settings: ServerSettings, _ socket: ListeningSocket, _ registry: Registry, _ reloader: Reloader, _ log: Log
    ) -> [any Service] {
        var services: [any Service] = []
        if settings.zeroconf { services.append(AvahiPublisher(settings, port: socket.port, log)) }
        if settings.useDBus {
            let facts = ServerFacts(socket, interface: settings.interface)
            services.append(BusService(registry, facts, log, reloader))
        }
        if let interval = ServiceManager.watchdogInterval { services.append(Watchdog(every: interval, registry)) }
        return services
    }

    /// All services; where one fails, the others end as when the server is told to stop, and the server fails.
    private func serviceGroup(_ services: [any Service]) -> ServiceGroup {
        ServiceGroup(
            configuration: .init(
                services: services.map {
                    .init(service: $0, failureTerminationBehavior: .gracefullyShutdownGroup)
                }, gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }))
    }

    /// Waits for `body` on the main thread: an asynchronous `main` would end that thread, and the kernel would go on to show
    /// that dead thread's identity, root, as the process's.
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
}

extension ConfigProblems {
    /// systemd starts the server again unless an operator has to mend the files; see RestartPreventExitStatus= in
    /// mandos.service.
    var exitStatus: ExitStatus { mayPass ? .temporaryFailure : .configuration }
}
