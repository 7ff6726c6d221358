import CMandosSystem
import Foundation
import Glibc
import Testing

/// Where things are.
enum Place {
    /// The package's folder.
    static let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// One of our programs, as this test run has built it.
    static func program(_ name: String) -> String {
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().path + "/" + name
    }
}

/// What a test needs that makes namespaces of its own, or looks at how the server gives up privileges.
enum Root {
    /// CI always runs these tests.
    static var isHere: Bool { getuid() == 0 || ProcessInfo.processInfo.environment["CI"] != nil }
    static let reason: Comment = "needs root, for namespaces of its own"
}

/// A directory that is gone after the test.
final class Directory: Sendable {
    let path = NSTemporaryDirectory() + "mandos-test-" + UUID().uuidString

    init() throws {
        let mode = [FileAttributeKey.posixPermissions: 0o700]
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: mode)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ contents: Data, to name: String) throws -> String {
        let file = path + "/" + name
        let created = FileManager.default.createFile(
            atPath: file, contents: contents, attributes: [.posixPermissions: 0o600])
        try #require(created)
        return file
    }

    @discardableResult
    func write(_ contents: String, to name: String) throws -> String { try write(Data(contents.utf8), to: name) }
}

/// A program that a test has started; it and its process group end with the test, whatever happens.
final class RunningProgram {
    private let path: String
    private let directory: Directory
    let processID: pid_t
    private var knownEnding: Ending?

    /// With a `terminal`, that is where it asks, and its standard input.
    init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:], input: Data = Data(),
        terminal: Terminal? = nil
    ) throws {
        self.path = path
        directory = try Directory()
        for (name, contents) in [("input", input), ("output", Data()), ("errors", Data())] {
            try directory.write(contents, to: name)
        }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // The first terminal that a new session opens is its own.
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
        // A test that wants a bus has one of its own; on the machine's there may be an Avahi that would announce us.
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

    var output: Data { FileManager.default.contents(atPath: directory.path + "/output") ?? Data() }
    var errors: String {
        String(decoding: FileManager.default.contents(atPath: directory.path + "/errors") ?? Data(), as: UTF8.self)
    }

    var isRunning: Bool {
        if knownEnding != nil { return false }
        var status: Int32 = 0
        guard unsafe waitpid(processID, &status, WNOHANG) == processID else { return true }
        let signal = status & 0x7F
        knownEnding = signal == 0 ? .exit(status: status >> 8 & 0xFF) : .signal(signal)
        return false
    }

    func signal(_ number: Int32) { kill(processID, number) }

    enum Ending: Equatable {
        case exit(status: Int32)
        case signal(Int32)
    }

    /// The line of standard error that has `text` in it, as soon as there is one.
    func line(with text: String, within limit: Duration = .seconds(60)) async throws -> String {
        try await eventually("\(text) on standard error", within: limit) {
            errors.split(separator: "\n").first { $0.contains(text) }.map(String.init)
        }
    }

    /// How it ended, as soon as it has.
    func ending(within limit: Duration = .seconds(120)) async throws -> Ending {
        try await eventually("the end of \(path)", within: limit) { isRunning ? nil : knownEnding }
    }

    private func eventually<Result>(
        _ what: String, within limit: Duration, _ body: () -> Result?
    ) async throws -> Result {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if let result = body() { return result }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw TookTooLong(what: what, errors: errors)
    }

    struct TookTooLong: Error, CustomStringConvertible {
        let what: String
        let errors: String
        var description: String { "did not see \(what); standard error was:\n\(errors)" }
    }
}

/// Runs a program to its end.
func run(
    _ path: String, _ arguments: [String], environment: [String: String] = [:], input: Data = Data()
) async throws -> (status: Int32, output: Data, errors: String) {
    let program = try RunningProgram(path, arguments, environment: environment, input: input)
    guard case .exit(let status) = try await program.ending() else {
        throw RunningProgram.TookTooLong(what: "an exit of \(path), but a signal", errors: program.errors)
    }
    return (status, program.output, program.errors)
}

/// A terminal at which a test sits.
final class Terminal {
    private let controller: Int32
    let path: String

    init() throws {
        // As posix_openpt(3), unlockpt(3) and ptsname(3) do it, which the headers hide.
        let unlock: UInt = 0x4004_5431  // TIOCSPTLCK
        let getNumber: UInt = 0x8004_5430  // TIOCGPTN
        var no: Int32 = 0
        var number: Int32 = 0
        controller = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(controller >= 0)
        try #require(unsafe ioctl(controller, unlock, &no) == 0 && ioctl(controller, getNumber, &number) == 0)
        path = "/dev/pts/\(number)"
        _ = fcntl(controller, F_SETFL, O_NONBLOCK)
    }

    deinit { close(controller) }

    func type(_ text: String) throws {
        let bytes = Array(text.utf8)
        try #require(unsafe write(controller, bytes, bytes.count) == bytes.count)
    }

    /// What is shown, up to `text`.
    func shows(_ text: String, tries: Int = 2000) async throws -> String {
        var shown: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        for _ in 0..<tries {
            let count = unsafe read(controller, &buffer, buffer.count)
            if count > 0 { shown += buffer[..<count] }
            let all = String(decoding: shown, as: UTF8.self)
            if all.contains(text) { return all }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw RunningProgram.TookTooLong(what: text, errors: String(decoding: shown, as: UTF8.self))
    }

    var echoes: Bool {
        var settings = termios()
        return unsafe tcgetattr(controller, &settings) == 0 && settings.c_lflag & tcflag_t(ECHO) != 0
    }
}
