import Logging
public import MandosCore
import MandosFormats
import POSIXKit
public import ServiceLifecycle
public import UnixSignals

/// Reloads the configuration files: clients and log levels.
///
/// Source: ours; the reference needs a restart. systemd.service(5), `Type=notify-reload`.
public struct Reloader: Service {
    private let hangups: UnixSignalsSequence
    private let reader: ConfigurationReader
    private let registry: Registry
    private let log: Log
    private let running: ServerSettings
    private let override: @Sendable (ServerSettings) -> ServerSettings
    /// Requests for a reload, each with the continuation that waits for its result; nil for a signal.
    private let requests: AsyncStream<CheckedContinuation<Result<Void, ReloadFailure>, Never>?>
    private let ask: AsyncStream<CheckedContinuation<Result<Void, ReloadFailure>, Never>?>.Continuation

    /// `hangups` are the signals that ask for a reload; `running` are the settings in force; `override` replaces settings of
    /// mandos.conf by those of the command line.
    public init(
        at hangups: UnixSignalsSequence, _ reader: ConfigurationReader, _ registry: Registry, _ log: Log,
        running: ServerSettings, override: @escaping @Sendable (ServerSettings) -> ServerSettings
    ) {
        self.hangups = hangups
        self.reader = reader
        self.registry = registry
        self.log = log
        self.running = running
        self.override = override
        (requests, ask) = AsyncStream.makeStream()
    }

    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await cancelWhenGracefulShutdown { await reader.waitForTaskLoss() }
                if reader.isTaskLost { await tellTaskLoss() }
            }
            group.addTask {
                for await _ in registry.problemChanges.cancelOnGracefulShutdown() {
                    ServiceManager.notify(.status(await status()))
                }
            }
            group.addTask {
                for await _ in hangups.cancelOnGracefulShutdown() { ask.yield(nil) }
                ask.finish()
            }
            group.addTask {
                // One at a time, so that the files read last take effect last.
                for await request in requests {
                    ServiceManager.notify(.reloading)
                    // A disk that hangs does not keep the server from stopping.
                    let result = await cancelWhenGracefulShutdown {
                        (try? await abandonable { await reloadNow() }) ?? .failure(.stopping)
                    }
                    ServiceManager.notify(.ready, .status(await status(after: result)))
                    returnFreeMemory()
                    request?.resume(returning: result)
                }
            }
        }
    }

    /// What only an operator can mend, for operators who ask; empty if there is nothing.
    var problems: [String] {
        get async { (reader.isTaskLost ? [Self.taskLoss] : []) + (await registry.problems) }
    }

    private static let taskLoss =
        "the configuration cannot be reloaded: the helper process mandos-config has ended or hangs; restart the server"

    /// One line for `systemctl status`, which otherwise reports every reload as done.
    private func status(after result: Result<Void, ReloadFailure> = .success(())) async -> String {
        let serving = "serving \(await registry.count) clients"
        let line =
            switch result {
            case .success: serving
            case .failure: "configuration not reloaded, see the log; \(serving) as before"
            }
        return ([line] + (await problems)).joined(separator: "; ")
    }

    /// The server goes on: its clients matter more than a reload. It cannot start the helper again, since it is not root.
    private func tellTaskLoss() async {
        log[.configuration].error("\(Self.taskLoss)")
        ServiceManager.notify(.status(await status()))
    }

    /// Reloads the configuration; after an error nothing has changed.
    public func reload() async -> Result<Void, ReloadFailure> {
        await withCheckedContinuation { request in
            if case .terminated = ask.yield(request) { request.resume(returning: .failure(.stopping)) }
        }
    }

    private func reloadNow() async -> Result<Void, ReloadFailure> {
        do throws(ReloadFailure) {
            try await apply(readFiles())
            return .success(())
        } catch {
            report(error)
            return .failure(error)
        }
    }

    private func readFiles() async throws(ReloadFailure) -> Configuration {
        let result = await cancelWhenGracefulShutdown { await reader.read() }
        return try result.mapError { (failure) -> ReloadFailure in
            switch failure {
            case .invalid(let problems): .invalid(problems)
            case .unreadable(let error): .failed(error.description)
            case .taskIsLost: .failed(Self.taskLoss)
            case .cancelled: .stopping
            }
        }.get()
    }

    private func apply(_ configuration: Configuration) async throws(ReloadFailure) {
        if configuration.clients.isEmpty, await registry.count > 0 {
            throw .failed("no client is left in the files, which is probably a mistake; to mean it, restart")
        }
        let summary: Registry.ReloadSummary
        do throws(Registry.Failure) {
            summary = try await registry.reload(configuration.clients, defaults: configuration.defaults)
        } catch {
            throw .failed(error.description)
        }
        let settings = override(configuration.server)
        log.levels = settings.logLevels
        let logger = log[.configuration]
        for warning in configuration.warnings { logger.warning("\(warning)") }
        let later = running.optionsThatNeedRestart(to: settings)
        if !later.isEmpty {
            logger.warning(
                "mandos.conf has changes that take effect only after a restart",
                metadata: ["options": "\(later.joined(separator: " "))"])
        }
        logger.notice(
            "configuration reloaded",
            metadata: [
                "added": "\(summary.added)", "changed": "\(summary.changed)", "removed": "\(summary.removed)",
            ])
    }

    private func report(_ failure: ReloadFailure) {
        let logger = log[.configuration]
        switch failure {
        case .invalid(let problems):
            for problem in problems.problems { logger.error("\(problem)") }
            logger.error("configuration not reloaded: nothing has changed; fix the errors above and reload again")
        case .failed(let reason):
            logger.error("configuration not reloaded: nothing has changed", metadata: ["reason": "\(reason)"])
        case .stopping: break
        }
    }
}

/// The reason why a reload failed; nothing has changed.
public enum ReloadFailure: Error, CustomStringConvertible {
    case invalid(ConfigProblems)
    case failed(String)
    /// The server is stopping.
    case stopping

    public var description: String {
        switch self {
        case .invalid(let problems): problems.problems.map(\.description).joined(separator: "\n")
        case .failed(let reason): reason
        case .stopping: "the server is stopping"
        }
    }
}
