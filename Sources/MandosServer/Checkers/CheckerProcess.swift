import Glibc
public import MandosFormats
public import POSIXKit

/// The process that starts and ends the checkers. It never has more rights than they, and ends, with all checkers, when the
/// server does, for whatever reason.
///
/// Where root starts the server, the checkers are programs of another user, whom the server can no longer become and whose
/// processes it may not signal. docs/PRIVILEGES.md, "Checkers".
public struct CheckerProcess: ~Copyable, Sendable {
    private let helper: PrivilegedHelper

    /// How many seconds a process whose queue of requests is full has to take one; then it hangs.
    private static let patience = 5

    /// Starts the process; only for a single-threaded process, before it has read anything secret.
    ///
    /// `account` is nil for the user of this process.
    public static func start(as account: Account?) throws(SystemError) -> CheckerProcess {
        let authority =
            account.map { PrivilegedHelper.Authority.ordinary(user: $0.user, group: $0.group) } ?? .unchanged
        let environment = ProcessEnvironment.settings.filter { setting in
            !ServiceManager.variables.contains { setting.hasPrefix($0 + "=") }
        }
        let helper = try PrivilegedHelper.start(name: "mandos-checkers", keeping: [], authority: authority) { socket in
            umask(Privileges.fileMask)
            guard let children = try? Children(), let null = try? POSIXKit.FileDescriptor.nothing() else { return }
            var checkers = CheckerLauncher(children, null, environment)
            checkers.serve(socket)
        }
        try helper.socket.limitSending(seconds: patience)
        return CheckerProcess(helper: helper)
    }

    /// Becomes readable when ``nextAnswer()`` has something to return.
    var descriptor: Int32 { helper.socket.number }

    /// Starts a checker, or makes it give the reason in its answer. `number` must not have been used before.
    ///
    /// - Throws: if the process has ended, or hangs; E2BIG if the command is too long.
    func start(_ number: UInt64, _ command: String, output: Int32?) throws(SystemError) {
        let command = Array(command.utf8)
        guard command.count < CheckerRequest.longestCommand else {
            throw SystemError("starting a checker", code: E2BIG)
        }
        try send(.start(number, command: command), output)
    }

    /// Kills a checker with its process group, unless it has ended.
    ///
    /// - Throws: if the process has ended, or hangs.
    func kill(_ number: UInt64) throws(SystemError) { try send(.kill(number)) }

    private func send(_ request: CheckerRequest, _ output: Int32? = nil) throws(SystemError) {
        let (head, command) = request.parts
        try helper.socket.send(head, command, passing: output)
    }

    enum Answer {
        case of(CheckerAnswer)
        case none
        /// The process has ended.
        case lost
    }

    /// The next answer, if there is one; never waits.
    func nextAnswer() -> Answer {
        // One byte more, so that a longer message is not taken for an answer.
        var buffer = [UInt8](repeating: 0, count: CheckerAnswer.size + 1)
        switch helper.socket.receive(into: &buffer) {
        case .notReady: return .none
        case .end: return .lost
        case .message(let message): return CheckerAnswer(message.bytes).map { .of($0) } ?? .lost
        }
    }

    /// Runs one command, and waits for its end; for a process that has not started other checkers.
    public func run(_ command: String) throws(SystemError) -> TerminationStatus {
        try start(0, command, output: nil)
        while true {
            _ = waitUntilReadable(descriptor, until: .now().after(milliseconds: 1000))
            switch nextAnswer() {
            case .none: continue
            case .lost: throw SystemError("running a command", code: ECHILD)
            case .of(let answer):
                switch answer.result {
                case .ended(let status): return status
                case .notStarted(let code): throw SystemError("starting /bin/sh", code: code)
                }
            }
        }
    }
}

/// The checkers that run, in their own process.
private struct CheckerLauncher: ~Copyable {
    private let children: Children
    private let environment: [String]
    /// /dev/null, opened once, so that it is available when we are out of descriptors.
    private let null: POSIXKit.FileDescriptor
    private var processes: [UInt64: pid_t] = [:]
    private var numbers: [pid_t: UInt64] = [:]

    init(_ children: consuming Children, _ null: consuming POSIXKit.FileDescriptor, _ environment: [String]) {
        self.children = children
        self.null = null
        self.environment = environment
    }

    /// Returns when the other side has closed its socket, and all checkers have ended.
    mutating func serve(_ socket: borrowing POSIXKit.FileDescriptor) {
        var buffer = [UInt8](repeating: 0, count: CheckerRequest.longest)
        while answerRequests(of: socket, &buffer), reportEnds(to: socket) {
            var events = PollSet()
            events.add(socket.number)
            events.add(children.descriptor)
            events.wait()
        }
        for process in numbers.keys { children.killGroup(of: process) }
        for process in numbers.keys { children.wait(for: process) }
    }

    /// Returns false if the other side is gone.
    private mutating func answerRequests(of socket: borrowing POSIXKit.FileDescriptor, _ buffer: inout [UInt8]) -> Bool
    {
        while true {
            switch socket.receive(into: &buffer) {
            case .notReady: return true
            case .end: return false
            case .message(let message):
                switch CheckerRequest(message.bytes) {
                case .start(let number, let command):
                    do throws(SystemError) {
                        try start(number, command, output: message)
                    } catch {
                        let answer = CheckerAnswer(number: number, .notStarted(error.code))
                        guard (try? socket.send(answer.message)) != nil else { return false }
                    }
                // A process that is not yet reported as ended has not been waited for: its ID is still its own.
                case .kill(let number):
                    if let process = processes[number] { children.killGroup(of: process) }
                case nil: return false
                }
            }
        }
    }

    /// Starts a checker whose output goes to the descriptor that came with `message`, if one did.
    private mutating func start(
        _ number: UInt64, _ command: [UInt8], output message: borrowing ReceivedMessage
    ) throws(SystemError) {
        let output = message.number ?? null.number
        let process = try children.start(
            "/bin/sh", arguments: ["sh", "-c", String(decoding: command, as: UTF8.self)], environment: environment,
            standard: [null.number, output, output], directory: "/")
        processes[number] = process
        numbers[process] = number
    }

    /// Returns false if the other side is gone.
    private mutating func reportEnds(to socket: borrowing POSIXKit.FileDescriptor) -> Bool {
        while let (process, status) = children.nextEnded() {
            guard let number = numbers.removeValue(forKey: process) else { continue }
            processes[number] = nil
            guard (try? socket.send(CheckerAnswer(number: number, .ended(status)).message)) != nil else { return false }
        }
        return true
    }
}
