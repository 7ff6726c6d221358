import Logging
public import MandosCore
import MandosFormats
import POSIXKit
public import ServiceLifecycle
public import UnixSignals

/// Takes over what the configuration files say by now: clients, and how much to log.
///
/// Source: ours; the reference has to be restarted. systemd.service(5), `Type=notify-reload`.
public struct Reloader: Service {
    private let hangups: UnixSignalsSequence
    private let reader: ConfigurationReader
    private let registry: Registry
    private let log: Log
    private let running: ServerSettings
    private let override: @Sendable (ServerSettings) -> ServerSettings
    /// Who asks for a reload, and waits for the result unless it is a signal.
    private let requests: AsyncStream<CheckedContinuation<Result<Void, ReloadFailure>, Never>?>
    private let ask: AsyncStream<CheckedContinuation<Result<Void, ReloadFailure>, Never>?>.Continuation

    /// `hangups` are the signals that ask for a reload; `running` the settings that are in force, which are those of
    /// mandos.conf after `override` has put in what the command line says.
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

    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in hangups.cancelOnGracefulShutdown() { ask.yield(nil) }
                ask.finish()
            }
            group.addTask {
                // One after the other, so that what was read last is what counts.
                for await asker in requests {
                    ServiceManager.tell(.reloading)
                    let result = await reloadNow()
                    ServiceManager.tell(.ready, .status("serving \(await registry.count) clients"))
                    returnFreeMemory()
                    asker?.resume(returning: result)
                }
            }
        }
    }

    /// All or nothing: with any error everything stays as it was.
    public func reload() async -> Result<Void, ReloadFailure> {
        await withCheckedContinuation { asker in
            if case .terminated = ask.yield(asker) { asker.resume(returning: .failure(.stopping)) }
        }
    }

    private func reloadNow() async -> Result<Void, ReloadFailure> {
        let logger = log[.configuration]
        do {
            let configuration = try await cancelWhenGracefulShutdown { try await reader.read() }
            if configuration.clients.isEmpty, await registry.count > 0 {
                throw ReloadFailure(["no client is left in the files, which nobody wants at once; to mean it, restart"])
            }
            let summary = try await registry.reload(configuration.clients, defaults: configuration.defaults)
            let settings = override(configuration.server)
            log.levels = settings.logLevels
            for warning in configuration.warnings { logger.warning("\(warning)") }
            let later = running.optionsThatNeedRestart(to: settings)
            if !later.isEmpty {
                logger.warning(
                    "mandos.conf has changes that count only after a restart",
                    metadata: ["options": "\(later.joined(separator: " "))"])
            }
            logger.notice(
                "configuration reloaded",
                metadata: [
                    "added": "\(summary.added)", "changed": "\(summary.changed)", "removed": "\(summary.removed)",
                ])
            return .success(())
        } catch let error as ConfigProblems {
            for problem in error.problems { logger.error("\(problem)") }
            logger.error("configuration not reloaded: nothing has changed; mend the above and reload again")
            return .failure(ReloadFailure(error.problems.map(\.description)))
        } catch is CancellationError {
            return .failure(.stopping)
        } catch {
            logger.error("configuration not reloaded: nothing has changed", metadata: ["reason": "\(error)"])
            return .failure(ReloadFailure(["\(error)"]))
        }
    }
}

/// Why nothing was reloaded, and nothing has changed.
public struct ReloadFailure: Error, CustomStringConvertible {
    public let reasons: [String]

    static let stopping = ReloadFailure(["the server is stopping"])

    init(_ reasons: [String]) { self.reasons = reasons }

    public var description: String { reasons.joined(separator: "\n") }
}
