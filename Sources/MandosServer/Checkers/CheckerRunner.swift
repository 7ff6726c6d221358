import Dispatch
import FoundationEssentials
import Glibc
public import Logging
public import MandosFormats
import POSIXKit
import Synchronization

/// Runs checkers.
public protocol CheckerRunning: Sendable {
    /// Runs `command` for the client `name`, and waits for its end.
    ///
    /// - Throws: if it cannot be started.
    func run(_ command: String, for name: String) async throws -> TerminationStatus

    /// Kills the checker of `name`, if one is running or about to run, with its process group.
    func kill(_ name: String)

    /// Kills all checkers, and starts no more.
    func killAll()
}

/// Runs each checker with the shell, in a process group of its own.
///
/// Source: mandos-clients.conf(5) `checker`.
public final class CheckerRunner: CheckerRunning {
    /// A checker can be killed before it has a process.
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
    /// /dev/null, opened once, so that it is available when we are out of descriptors.
    private let null: FileDescriptor

    /// The output of checkers is logged only if `logger` logs at level debug.
    public init(logger: Logger) throws {
        self.logger = logger
        null = try FileDescriptor.nothing()
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

    /// `started` is called once the checker has its own copy of `output`.
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
        if wasKilled { process.signal(SIGKILL, to: .group) }
        while true {
            if let status = process.status() { return status }
            await Self.waitUntilReadable(process.descriptor)
        }
    }

    private static func waitUntilReadable(_ descriptor: Int32) async {
        await withCheckedContinuation { continuation in
            let source = DispatchSource.makeReadSource(fileDescriptor: descriptor)
            source.setEventHandler { source.cancel() }
            // Only now does the source no longer use the descriptor.
            source.setCancelHandler { continuation.resume() }
            source.activate()
        }
    }

    /// Our environment, without the variables that the service manager set for us alone.
    private static let environment = ProcessInfo.processInfo.environment
        .filter { !ServiceManager.variables.contains($0.key) }.map { "\($0.key)=\($0.value)" }

    public func kill(_ name: String) { state.withLock { Self.kill(name, &$0) } }

    public func killAll() {
        state.withLock { state in
            state.hasEnded = true
            for name in Array(state.stages.keys) { Self.kill(name, &state) }
        }
    }

    /// Kills a checker. Called under the lock, so that the process group is still the checker's.
    private static func kill(_ name: String, _ state: inout State) {
        // SIGKILL at once: all that a checker leaves undone is a network request.
        if case .running(let processID) = state.stages[name] { Glibc.kill(-processID, SIGKILL) }
        if state.stages[name] != nil { state.stages[name] = .killed }
    }
}
