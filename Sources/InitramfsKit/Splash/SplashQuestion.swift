import CMandosSystem
import MandosFormats
public import POSIXKit

/// A prompt for a password on a splash screen, without privileges: a separate process keeps these, and restores the
/// screen when this process ends, for whatever reason.
public struct SplashQuestion: ~Copyable {
    public enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// The splash screen is not running.
        case notRunning
        /// The prompting program could not be started, or failed.
        case failed
    }

    /// The maximum length of a password, in bytes.
    public static var longestPassword: Int { 1 << 20 }

    private let helper: PrivilegedHelper
    private let output: FileDescriptor

    /// Starts the process that keeps our privileges, and drops them for good in this one.
    ///
    /// Only for a single-threaded process. Of our open descriptors, the other process keeps standard error only.
    /// `isVerbose` reports each step on standard error.
    public static func begin(
        _ screen: SplashScreen, program: StaticString, isVerbose: Bool = false
    ) throws(SystemError) -> SplashQuestion {
        let pipe = try Pipe.make(nonBlocking: .reading)
        let writing = pipe.writing.number
        let splash = SplashHelper(
            screen: screen, tell: { complain(program, $0) }, debug: { if isVerbose { complain(program, $0) } })
        let helper = try PrivilegedHelper.start(name: "mandos-splash", keeping: [writing, STDERR_FILENO]) { socket in
            splash.serve(socket, output: writing)
        }
        do throws(SystemError) {
            try Hardening.dropPrivileges()
        } catch {
            helper.end()
            throw error
        }
        PluginRole.willAsk.declare()
        return SplashQuestion(helper: helper, output: pipe.keepReading())
    }

    /// Waits for the answer. Unless it is a password, ``end()`` restores the screen.
    public borrowing func answer(until stop: borrowing StopSignals) throws(SystemError) -> Outcome {
        let password = SecretBuffer(limit: Self.longestPassword + 1)
        var isOpen = true
        while true {
            var set = PollSet()
            stop.register(in: &set)
            set.add(helper.socket.number)
            if isOpen { set.add(output.number) }
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            if isOpen { isOpen = try Self.drain(output, into: password) }
            guard set.isReady(helper.socket.number) else { continue }
            switch message() {
            case .ready: continue
            case .notRunning: return .notRunning
            case .cannotAsk, .failed: return .failed
            case .answered:
                // The prompting program wrote everything before it ended.
                if isOpen { _ = try Self.drain(output, into: password) }
                return .password(password)
            case nil: throw SystemError("asking, with a process of ours that somebody has ended", code: ESRCH)
            }
        }
    }

    /// Waits until the splash screen is known to run, for a program that prompts by itself.
    ///
    /// - Returns: nil if the splash screen is running.
    public borrowing func problem(until stop: borrowing StopSignals) throws(SystemError) -> Outcome? {
        while true {
            var set = PollSet()
            stop.register(in: &set)
            set.add(helper.socket.number)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            guard set.isReady(helper.socket.number) else { continue }
            guard let message = message() else {
                throw SystemError("asking, with a process of ours that somebody has ended", code: ESRCH)
            }
            return message == .ready ? nil : .notRunning
        }
    }

    /// Adds the event that ``isPointless`` reports, for a program that prompts by itself.
    public func register(in set: inout PollSet) { set.add(helper.socket.number) }

    /// Whether the splash screen has ended meanwhile, for a program that prompts by itself.
    public var isPointless: Bool { isReadable(helper.socket.number) }

    /// Waits until the splash screen has ended, at most `milliseconds`.
    public func waitUntilPointless(milliseconds: Int64) {
        _ = waitUntilReadable(helper.socket.number, until: .now().after(milliseconds: milliseconds))
    }

    /// Reports that a program that prompts by itself has its answer, so that the screen stays as it is.
    public borrowing func isAnswered() {
        try? helper.socket.send(1)
    }

    /// Ends the separate process, and waits until it has restored the screen if necessary.
    public consuming func end() { helper.end() }

    private borrowing func message() -> SplashHelper.Message? {
        let message = (try? helper.socket.receiveByte()).flatMap { SplashHelper.Message(rawValue: $0) }
        if message == .ready { PluginRole.asks.declare() }
        return message
    }

    /// Reads the available part of the password from a non-blocking descriptor.
    ///
    /// - Returns: whether more may come.
    /// - Throws: also if the password is too long (EMSGSIZE).
    public static func drain(_ end: borrowing FileDescriptor, into password: SecretBuffer) throws(SystemError) -> Bool {
        let isOver = password.drain(end.number)
        if password.isFull { throw SystemError("reading the password", code: EMSGSIZE) }
        return !isOver
    }
}
