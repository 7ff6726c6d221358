import CMandosSystem
import MandosFormats
public import POSIXKit

/// Asking for a password by way of a splash screen, without privileges: those are left to a process of its own, which puts
/// the screen back in order when this one is gone, however that happens.
public struct SplashQuestion: ~Copyable {
    public enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// It does not run.
        case notRunning
        /// The program that asks could not be started, or failed.
        case failed
    }

    /// No password is longer, in bytes.
    public static var longestPassword: Int { 1 << 20 }

    private let helper: PrivilegedHelper
    private let output: FileDescriptor

    /// Starts the process that keeps our privileges, and gives them up in this one for good.
    ///
    /// For a process that still has one thread. Of our descriptors, the other process has standard error only. `isVerbose`
    /// tells on standard error what happens.
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
        return SplashQuestion(helper: helper, output: pipe.keepReading())
    }

    /// Waits until there is an answer. After everything but a password, ``end()`` puts the screen back in order.
    public borrowing func answer(until stop: borrowing StopSignals) throws(SystemError) -> Outcome {
        let password = SecretBuffer(limit: Self.longestPassword + 1)
        var isOpen = true
        while true {
            var set = PollSet()
            set.add(stop.descriptor.number)
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
                // It wrote all before it ended.
                if isOpen { _ = try Self.drain(output, into: password) }
                return .password(password)
            case nil: throw SystemError("asking, with a process of ours that somebody has ended", code: ESRCH)
            }
        }
    }

    /// Waits until the splash screen is known to run, for a program that asks by itself.
    ///
    /// - Returns: nil if it does.
    public borrowing func problem(until stop: borrowing StopSignals) throws(SystemError) -> Outcome? {
        while true {
            var set = PollSet()
            set.add(stop.descriptor.number)
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

    /// For a program that asks by itself: waits also for what ``isPointless`` tells of.
    public func register(in set: inout PollSet) { set.add(helper.socket.number) }

    /// For a program that asks by itself: whether the splash screen has ended meanwhile.
    public var isPointless: Bool { isReadable(helper.socket.number) }

    /// Waits for that, but no longer.
    public func waitUntilPointless(milliseconds: Int64) {
        _ = waitUntilReadable(helper.socket.number, until: .now().after(milliseconds: milliseconds))
    }

    /// Says that a program that asks by itself has its answer, so that the screen stays as it is.
    public borrowing func isAnswered() {
        try? helper.socket.send(1)
    }

    /// Waits until the screen is in order again, if it has to be put in order.
    public consuming func end() { helper.end() }

    private borrowing func message() -> SplashHelper.Message? {
        (try? helper.socket.receiveByte()).flatMap { SplashHelper.Message(rawValue: $0) }
    }

    /// Takes what there is.
    ///
    /// - Returns: whether there may come more.
    /// - Throws: also if it is too long for a password (EMSGSIZE).
    public static func drain(_ end: borrowing FileDescriptor, into password: SecretBuffer) throws(SystemError) -> Bool {
        let isOver = password.drain(end.number)
        if password.isFull { throw SystemError("reading the password", code: EMSGSIZE) }
        return !isOver
    }
}
