import CMandosSystem

/// The signals that ask a program to stop, delivered through a descriptor, so that a poll loop can clean up after them.
public struct StopSignals: ~Copyable {
    public let descriptor: FileDescriptor

    public static let numbers = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]

    /// Blocks SIGTERM, SIGINT, SIGHUP and SIGQUIT for delivery through ``descriptor``, and ignores SIGPIPE. Signals
    /// that were ignored when we were started, as by nohup(1), stay ignored.
    ///
    /// Call it before the first thread is created: threads inherit the signal mask.
    public init() throws(SystemError) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in Self.numbers where !cmandos_is_ignored(signal) {
            unsafe sigaddset(&set, signal)
        }
        try unsafe SystemError.check("blocking signals", sigprocmask(SIG_BLOCK, &set, nil))
        let flags = Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK)
        descriptor = FileDescriptor(
            owning: try unsafe SystemError.check("receiving signals", signalfd(-1, &set, flags)))
        cmandos_ignore_signal(SIGPIPE)
        // If the program that started us ignores SIGCHLD, no child's status can be collected.
        cmandos_default_signal(SIGCHLD)
    }

    /// The next signal received, if any; never waits.
    public func next() -> Int32? {
        var information = signalfd_siginfo()
        let transfer = unsafe withUnsafeMutableBytes(of: &information) { try? unsafe descriptor.read(into: $0) }
        guard let transfer, case .bytes = transfer else { return nil }
        return Int32(information.ssi_signo)
    }
}

/// Ends this program by a signal's default action, so that its parent sees the reason.
public func dieOf(_ signalNumber: Int32) -> Never {
    cmandos_default_signal(signalNumber)
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signalNumber)
    _ = unsafe sigprocmask(SIG_UNBLOCK, &set, nil)
    raise(signalNumber)
    exit(128 + signalNumber)
}

/// Ignores a signal, also in the programs run from now on unless they reset it.
public func ignoreSignal(_ number: Int32) { cmandos_ignore_signal(number) }
