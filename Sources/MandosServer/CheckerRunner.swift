import Glibc
import InitramfsKit
public import Logging
public import MandosCore
import Subprocess
import Synchronization
import SystemPackage

/// Runs checkers.
public protocol CheckerRunning: Sendable {
    /// Runs `command` for the client `name` to its end.
    ///
    /// - Throws: if it could not be started, or never got to its end.
    func run(_ command: String, for name: String) async throws -> Client.CheckerEnding

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
    private let null: InitramfsKit.FileDescriptor

    /// What checkers print is of interest only where `logger` tells what helps to find errors.
    public init(logger: Logger) throws {
        self.logger = logger
        null = try InitramfsKit.FileDescriptor.open("/dev/null", O_RDWR)
    }

    /// Runs a command that does nothing: what is set up for the first one, and cannot be set up twice, is there then.
    public func prepare() async throws { _ = try await run(":", for: "") }

    public func run(_ command: String, for name: String) async throws -> Client.CheckerEnding {
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
    ) async throws -> Client.CheckerEnding {
        let mayStart = state.withLock { state in
            if !state.hasEnded { state.stages[name] = .starting }
            return !state.hasEnded
        }
        guard mayStart else { return .signal(SIGKILL) }
        defer { state.withLock { $0.stages[name] = nil } }
        var options = PlatformOptions()
        options.processGroupID = 0
        let result = try await Subprocess.run(
            .path("/bin/sh"), arguments: ["-c", command], environment: Self.environment, workingDirectory: "/",
            platformOptions: options,
            input: .fileDescriptor(.init(rawValue: null.number), closeAfterSpawningProcess: false),
            output: .fileDescriptor(.init(rawValue: output), closeAfterSpawningProcess: false),
            error: .combinedWithOutput
        ) { execution in
            started()
            let processID = execution.processIdentifier.value
            let wasKilled = state.withLock { state in
                if case .killed = state.stages[name] { return true }
                state.stages[name] = .running(processID)
                return false
            }
            if wasKilled { Glibc.kill(-processID, SIGKILL) }
        }
        switch result.terminationStatus {
        case .exited(let status): return .exit(status: status)
        case .signaled(let signal): return .signal(signal)
        }
    }

    /// Ours, without what the service manager means for us alone.
    private static let environment = Environment.inherit.updating(
        Dictionary(
            uniqueKeysWithValues: ServiceManager.variables.map { (Environment.Key(stringLiteral: $0), String?.none) }))

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
