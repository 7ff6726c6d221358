import CMandosSystem
public import Foundation
import Glibc
import Testing

/// A program that a test has started; it and its process group are killed at the end of the test.
public final class RunningProgram {
    private let path: String
    private let directory: TemporaryDirectory
    public let processID: Int32
    private var knownEnding: Ending?

    /// Starts the program, with `terminal`, if there is one, as its controlling terminal and standard input.
    public init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:], input: Data = Data(),
        terminal: Terminal? = nil
    ) throws {
        self.path = path
        directory = try TemporaryDirectory()
        for (name, contents) in [("input", input), ("output", Data()), ("errors", Data())] {
            try directory.write(contents, to: name)
        }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // The first terminal that a new session opens becomes its controlling terminal.
        let standardInput = terminal?.path ?? directory.path + "/input"
        unsafe posix_spawn_file_actions_addopen(&actions, 0, standardInput, terminal == nil ? O_RDONLY : O_RDWR, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, directory.path + "/output", O_WRONLY | O_APPEND, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 2, directory.path + "/errors", O_WRONLY | O_APPEND, 0)
        // A file that another test is about to run must not stay open for writing in a program of ours.
        unsafe cmandos_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        let newSession: Int32 = 0x80  // POSIX_SPAWN_SETSID, hidden by the headers
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        // The threads that run tests block signals.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        let flags = POSIX_SPAWN_SETSIGMASK | (terminal == nil ? POSIX_SPAWN_SETPGROUP : newSession)
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
        // A test that needs a bus starts one; on the machine's there may be an Avahi that would announce our server.
        let surroundings = ProcessInfo.processInfo.environment
            .merging(["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"]) { $1 }
        let variables = surroundings.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
        var argumentList = unsafe ([path] + arguments).map { unsafe strdup($0) } + [nil]
        var variableList = unsafe variables.map { unsafe strdup($0) } + [nil]
        defer { unsafe (argumentList + variableList).forEach { unsafe free($0) } }
        var processID: pid_t = 0
        let code = unsafe posix_spawn(&processID, path, &actions, &attributes, &argumentList, &variableList)
        try #require(code == 0, "cannot start \(path)")
        self.processID = processID
    }

    deinit {
        if isRunning { endGroup() }
    }

    private func endGroup() {
        kill(-processID, SIGKILL)
        _ = waitpid(processID, nil, 0)
    }

    public var output: Data { FileManager.default.contents(atPath: directory.path + "/output") ?? Data() }
    public var errors: String { String(decoding: errorBytes, as: UTF8.self) }
    private var errorBytes: Data { FileManager.default.contents(atPath: directory.path + "/errors") ?? Data() }

    public var isRunning: Bool {
        if knownEnding != nil { return false }
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, WNOHANG)
        guard ended != 0 else { return true }
        precondition(ended == processID, "somebody else has waited for \(path)")
        let signal = status & 0x7F
        knownEnding = signal == 0 ? .exit(status: status >> 8 & 0xFF) : .signal(signal)
        return false
    }

    /// The processes that it has started, and that have not ended.
    public var children: [Int32] { Self.children(of: processID) }

    /// The processes that a process has started, and that have not ended.
    public static func children(of processID: Int32) -> [Int32] {
        let list = FileManager.default.contents(atPath: "/proc/\(processID)/task/\(processID)/children") ?? Data()
        return String(decoding: list, as: UTF8.self).split(separator: " ").compactMap { Int32($0) }
    }

    /// What a process can do about a signal, instead of being ended by it; the raw values are names in `/proc/PID/status`.
    public enum Disposition: String {
        case ignored = "SigIgn:"
        case caught = "SigCgt:"
    }

    /// Whether a process has `disposition` for a signal.
    public static func process(_ processID: Int32, has disposition: Disposition, for signal: Int32) -> Bool {
        let status = FileManager.default.contents(atPath: "/proc/\(processID)/status") ?? Data()
        let lines = String(decoding: status, as: UTF8.self).split(separator: "\n")
        let mask = lines.first { $0.hasPrefix(disposition.rawValue) }?.split(separator: "\t").last
        return (mask.flatMap { UInt64($0, radix: 16) } ?? 0) & 1 << UInt64(signal - 1) != 0
    }

    /// Sends a signal to the program, unless it has ended: its process ID may be another's then.
    public func signal(_ number: Int32) {
        if isRunning { kill(processID, number) }
    }

    public enum Ending: Equatable, Sendable {
        case exit(status: Int32)
        case signal(Int32)
    }

    /// Waits for a line with `text` on standard error, and returns it.
    public func line(with text: String) async throws -> String {
        try await eventually("\(text) on standard error", details: { errors }) {
            // Searching in bytes takes a hundredth of the time that it takes in characters.
            errorBytes.split(separator: UInt8(ascii: "\n")).first { $0.range(of: Data(text.utf8)) != nil }
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// Waits until `text` has been on standard error `count` times.
    public func says(_ text: String, times count: Int) async throws {
        try await waitUntil("\(text), \(count) times", details: { errors }) {
            var (found, rest) = (0, errorBytes[...])
            while let range = rest.range(of: Data(text.utf8)) { (found, rest) = (found + 1, rest[range.upperBound...]) }
            return found >= count
        }
    }

    /// Waits until the program has ended, and returns how.
    public func ending() async throws -> Ending {
        try await eventually("the end of \(path)", details: { errors }) { isRunning ? nil : knownEnding }
    }
}

/// Runs a program to its end.
public func run(
    _ path: String, _ arguments: [String], environment: [String: String] = [:], input: Data = Data()
) async throws -> (status: Int32, output: Data, errors: String) {
    let program = try RunningProgram(path, arguments, environment: environment, input: input)
    let ending = try await program.ending()
    guard case .exit(let status) = ending else {
        throw TookTooLong(goal: "an exit of \(path), but \(ending)", details: program.errors)
    }
    return (status, program.output, program.errors)
}

/// Runs a program that prints text to its end.
public func runForText(
    _ path: String, _ arguments: [String], environment: [String: String] = [:]
) async throws -> (status: Int32, output: String, errors: String) {
    let result = try await run(path, arguments, environment: environment)
    return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
}

/// Runs a shell script as process 1 of new process and mount namespaces, and of a new network namespace if it has
/// `ownNetwork`. Everything that the script starts ends with it, and is refused the calls of `refused`. `"$0" "$@"` are the
/// `arguments`.
public func runInNamespaces(
    _ script: String, _ arguments: [String], ownNetwork: Bool = false, environment: [String: String] = [:],
    refused: RefusedCalls = RefusedCalls()
) async throws -> (status: Int32, output: Data, errors: String) {
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"] + (ownNetwork ? ["--net"] : [])
    let command = refused.command("/usr/bin/unshare", namespaces + ["/bin/sh", "-c", script] + arguments)
    return try await run(command.path, command.arguments, environment: environment)
}
