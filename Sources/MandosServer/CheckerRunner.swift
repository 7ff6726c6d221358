import Glibc
public import MandosCore
import Subprocess
import SystemPackage
import Synchronization

/// Runs checkers.
public protocol CheckerRunning: Sendable {
    /// Runs `command` for the client `name` to its end.
    ///
    /// - Throws: if it could not be started, or never got to its end.
    func run(_ command: String, for name: String) async throws -> Client.CheckerEnding

    /// Ends the checker of `name`, if one is running, and all that it has started in its process group.
    func kill(_ name: String)
}

/// Runs each checker by the shell, in a process group of its own.
///
/// Source: mandos-clients.conf(5) `checker`.
public final class CheckerRunner: CheckerRunning {
    private let processIDs = Mutex<[String: pid_t]>([:])

    public init() {}

    public func run(_ command: String, for name: String) async throws -> Client.CheckerEnding {
        var options = PlatformOptions()
        options.processGroupID = 0
        let result = try await Subprocess.run(
            .path("/bin/sh"), arguments: ["-c", command], workingDirectory: "/", platformOptions: options,
            input: .none, output: .discarded, error: .discarded
        ) { execution in
            let processID = execution.processIdentifier.value
            processIDs.withLock { $0[name] = processID }
        }
        processIDs.withLock { $0[name] = nil }
        switch result.terminationStatus {
        case .exited(let status): return .exit(status: status)
        case .signaled(let signal): return .signal(signal)
        }
    }

    public func kill(_ name: String) {
        // A checker has had its chance to end; what it leaves undone is a network request.
        if let processID = processIDs.withLock({ $0.removeValue(forKey: name) }) { Glibc.kill(-processID, SIGKILL) }
    }
}
