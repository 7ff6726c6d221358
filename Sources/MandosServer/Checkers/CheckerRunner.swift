import Dispatch
import FoundationEssentials
import Glibc
public import Logging
public import MandosFormats
import POSIXKit
import Synchronization

/// Runs checkers.
public protocol CheckerRunning: Sendable {
    /// Runs `command` for the client `name` to its end.
    ///
    /// - Throws: if it could not be started, or never got to its end.
    func run(_ command: String, for name: String) async throws -> TerminationStatus

    /// Ends the checker of `name`, if one is running or about to, and all that it has started in its process group.
    func kill(_ name: String)

    /// Ends all of them, and lets none begin any more.
    func killAll()
}

/// Runs each checker by the shell, in a process group of its own.
///
/// Source: mandos-clients.conf(5) `checker`.
public final class CheckerRunner: CheckerRunning {
    /// Where a checker stands. It can be killed before there is a process.
    private enum Stage {
        case starting
        case running(pid_t)
        case killed
    }

    private struct State {
        var stages: [String: Stage] = [:]
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let logger: Logger
    /// Opened once, so that a lack of descriptors later is nothing to it.
    private let null: FileDescriptor

    /// What checkers print is of interest only where `logger` tells what helps to find errors.
    public init(logger: Logger) throws {
        self.logger = logger
        null = try FileDescriptor.open("/dev/null", O_RDWR)
    }

    public func run(_ command: String, for name: String) async throws -> TerminationStatus {
        guard logger.logLevel <= .debug else { return try await run(command, for: name, output: null.number) }
        let output = try CheckerOutput()
        defer {
            let text = output.end()
            if !text.isEmpty {
                logger.debug("checker output", metadata: ["client.name": "\(name)", "output": "\(text)"])
            }
        }
        return try await run(command, for: name, output: output.descriptor) { output.closeDescriptor() }
    }

    /// `started` is called once the checker has a descriptor of its own for its output.
    private func run(
        _ command: String, for name: String, output: Int32, started: @Sendable () -> Void = {}
    ) async throws -> TerminationStatus {
        let mayStart = state.withLock { state in
            if !state.hasEnded { state.stages[name] = .starting }
            return !state.hasEnded
        }
        guard mayStart else { return .signal(SIGKILL) }
        defer { state.withLock { $0.stages[name] = nil } }
        let process = try ChildProcess.start(
            "/bin/sh", arguments: ["sh", "-c", command], environment: Self.environment,
            standard: [null.number, output, output], directory: "/")
        started()
        let processID = process.processID
        let wasKilled = state.withLock { state in
            if case .killed = state.stages[name] { return true }
            state.stages[name] = .running(processID)
            return false
        }
        if wasKilled { process.killGroup() }
        while true {
            if let ending = process.ending() {
                return switch ending {
                case .exit(let status): .exit(status: status)
                case .signal(let number): .signal(number)
                }
            }
            await Self.readable(process.descriptor)
        }
    }

    /// Returns when there is something to read.
    private static func readable(_ descriptor: Int32) async {
        await withCheckedContinuation { continuation in
            let source = DispatchSource.makeReadSource(fileDescriptor: descriptor)
            source.setEventHandler { source.cancel() }
            // Only now does nobody look at the descriptor any more.
            source.setCancelHandler { continuation.resume() }
            source.activate()
        }
    }

    /// Ours, without what the service manager means for us alone.
    private static let environment = ProcessInfo.processInfo.environment
        .filter { !ServiceManager.variables.contains($0.key) }.map { "\($0.key)=\($0.value)" }

    public func kill(_ name: String) { state.withLock { Self.kill(name, &$0) } }

    public func killAll() {
        state.withLock { state in
            state.hasEnded = true
            for name in Array(state.stages.keys) { Self.kill(name, &state) }
        }
    }

    /// Under the lock, so that the process group is still the checker's.
    private static func kill(_ name: String, _ state: inout State) {
        // A checker has had its chance to end; what it leaves undone is a network request.
        if case .running(let processID) = state.stages[name] { Glibc.kill(-processID, SIGKILL) }
        if state.stages[name] != nil { state.stages[name] = .killed }
    }
}
