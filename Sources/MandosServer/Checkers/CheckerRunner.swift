@unsafe @preconcurrency import Dispatch  // its sources may be used from any thread
public import Logging
public import MandosFormats
import Glibc
import POSIXKit
public import ServiceLifecycle
import Synchronization

/// Runs checkers.
public protocol CheckerRunning: Sendable {
    /// Runs `command` for the client `name`, and waits for its end.
    ///
    /// - Throws: if it cannot be started, or if its result says nothing about the client: ``CheckerRunner/Stopped``.
    func run(_ command: String, for name: String) async throws -> TerminationStatus

    /// Kills the checker of `name`, if one is running or about to run, with its process group.
    func kill(_ name: String)

    /// Kills all checkers, and starts no more.
    func killAll()
}

/// Runs each checker with the shell, in a process group of its own, through a ``CheckerProcess``. As a service, it fails if
/// that process ends: without checks every client would be disabled in the end.
///
/// Source: mandos-clients.conf(5) `checker`.
public final class CheckerRunner: CheckerRunning, Service {
    /// The server, not the client, is the reason why a checker has no result.
    public enum Stopped: Error, CustomStringConvertible {
        case killed
        case lost

        public var description: String {
            switch self {
            case .killed: "the server is stopping"
            case .lost: "the process mandos-checkers, which runs the checkers, is lost; restart the server"
            }
        }
    }

    private typealias Waiter = CheckedContinuation<Result<TerminationStatus, any Error>, Never>

    private struct State {
        var lastNumber: UInt64 = 0
        var numbers: [String: UInt64] = [:]
        var waiters: [UInt64: Waiter] = [:]
        /// Why no checker can be started any more.
        var stopped: Stopped?
    }

    private let state = Mutex(State())
    private let process: CheckerProcess
    private let source: any DispatchSourceRead
    private let logger: Logger
    /// Has an element if that process has ended, or takes no more requests.
    private let (losses, loss) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// The output of checkers is logged only if `logger` logs at level debug.
    public init(_ process: consuming CheckerProcess, logger: Logger) {
        self.logger = logger
        source = DispatchSource.makeReadSource(fileDescriptor: process.descriptor)
        self.process = process
        source.setEventHandler { [weak self] in self?.receiveAnswers() }
        source.activate()
    }

    public func run(_ command: String, for name: String) async throws -> TerminationStatus {
        guard logger.logLevel <= .debug else { return try await run(command, for: name, nil) }
        let output = try CheckerOutput()
        defer {
            let text = output.end()
            if !text.isEmpty {
                logger.debug("checker output", metadata: ["client.name": "\(name)", "output": "\(text)"])
            }
        }
        return try await run(command, for: name, output)
    }

    private func run(_ command: String, for name: String, _ output: CheckerOutput?) async throws -> TerminationStatus {
        let result: Result<TerminationStatus, any Error> = await withCheckedContinuation { waiter in
            let failure = state.withLock { start(command, for: name, output, waiter, &$0) }
            if let failure { waiter.resume(returning: .failure(failure)) }
        }
        state.withLock { $0.numbers[name] = nil }
        return try result.get()
    }

    /// Sends the request under the lock, so that no request to kill the checker comes before it.
    private func start(
        _ command: String, for name: String, _ output: CheckerOutput?, _ waiter: Waiter, _ state: inout State
    ) -> (any Error)? {
        defer { output?.closeDescriptor() }
        if let stopped = state.stopped { return stopped }
        state.lastNumber += 1
        do throws(SystemError) {
            try process.start(state.lastNumber, command, output: output?.descriptor)
        } catch {
            noticeLoss(error, &state)
            return error
        }
        state.numbers[name] = state.lastNumber
        state.waiters[state.lastNumber] = waiter
        return nil
    }

    public func kill(_ name: String) {
        // SIGKILL at once: all that a checker leaves undone is a network request.
        state.withLock { state in
            if let number = state.numbers[name], state.stopped == nil { end([number], &state) }
        }
    }

    /// Ends checkers. If that fails, they end with their process, which ends with the server.
    private func end(_ numbers: [UInt64], _ state: inout State) {
        do throws(SystemError) {
            for number in numbers { try process.kill(number) }
        } catch {
            noticeLoss(error, &state)
        }
    }

    /// Stops at once if the process has ended or hangs: each further request would block a thread until it fails. Does
    /// nothing if, for example, the machine is out of memory for a moment.
    private func noticeLoss(_ error: SystemError, _ state: inout State) {
        guard error.isConnectionReset || error.code == EAGAIN else { return }
        state.stopped = state.stopped ?? .lost
        loss.yield()
    }

    public func killAll() { stop(.killed) }

    private func stop(_ reason: Stopped) {
        let waiters = state.withLock { state in
            if reason == .killed, state.stopped == nil { end(Array(state.waiters.keys), &state) }
            state.stopped = state.stopped ?? reason
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume(returning: .failure(reason)) }
    }

    private func receiveAnswers() {
        while true {
            switch process.nextAnswer() {
            case .none: return
            case .of(let answer): receive(answer)
            case .lost:
                source.cancel()
                loss.yield()
                return
            }
        }
    }

    private func receive(_ answer: CheckerAnswer) {
        // Nobody waits for a checker that was killed with all others.
        guard let waiter = state.withLock({ $0.waiters.removeValue(forKey: answer.number) }) else { return }
        switch answer.result {
        case .ended(let status): waiter.resume(returning: .success(status))
        case .notStarted(let code): waiter.resume(returning: .failure(SystemError("starting /bin/sh", code: code)))
        }
    }

    /// Waits for a graceful shutdown.
    ///
    /// - Throws: if the process that runs the checkers has ended.
    public func run() async throws {
        for await _ in losses.cancelOnGracefulShutdown() where !Task.isShuttingDownGracefully {
            stop(.lost)
            logger.error("the process mandos-checkers has ended, or hangs: no client can be checked")
            ServiceManager.notify(.status("ended: the process mandos-checkers, which runs the checkers, is lost"))
            throw Stopped.lost
        }
    }
}
