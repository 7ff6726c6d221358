import Glibc
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

    /// Ends the checker of `name`, if one is running, and all that it has started in its process group.
    func kill(_ name: String)
}

/// Runs each checker by the shell, in a process group of its own.
///
/// Source: mandos-clients.conf(5) `checker`.
public final class CheckerRunner: CheckerRunning {
    private let processIDs = Mutex<[String: pid_t]>([:])
    private let logger: Logger

    /// What checkers print is of interest only where `logger` tells what helps to find errors.
    public init(logger: Logger) { self.logger = logger }

    public func run(_ command: String, for name: String) async throws -> Client.CheckerEnding {
        guard logger.logLevel <= .debug else {
            return try await run(command, for: name, output: .discarded, error: .discarded)
        }
        let (output, descriptor) = try CheckerOutput.collect()
        defer {
            let text = output.end()
            if !text.isEmpty {
                logger.debug("checker output", metadata: ["client.name": "\(name)", "output": "\(text)"])
            }
        }
        return try await run(
            command, for: name,
            output: .fileDescriptor(FileDescriptor(rawValue: descriptor), closeAfterSpawningProcess: true),
            error: .combinedWithOutput)
    }

    private func run(
        _ command: String, for name: String, output: some OutputProtocol, error: some ErrorOutputProtocol
    ) async throws -> Client.CheckerEnding {
        var options = PlatformOptions()
        options.processGroupID = 0
        let result = try await Subprocess.run(
            .path("/bin/sh"), arguments: ["-c", command], environment: Self.environment, workingDirectory: "/",
            platformOptions: options, input: .none, output: output, error: error
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

    /// Ours, without what the service manager means for us alone.
    private static let environment = Environment.inherit.updating(
        Dictionary(
            uniqueKeysWithValues: ServiceManager.variables.map { (Environment.Key(stringLiteral: $0), String?.none) }))

    public func kill(_ name: String) {
        // A checker has had its chance to end; what it leaves undone is a network request.
        if let processID = processIDs.withLock({ $0.removeValue(forKey: name) }) { Glibc.kill(-processID, SIGKILL) }
    }
}
