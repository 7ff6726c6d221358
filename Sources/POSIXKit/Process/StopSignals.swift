import CMandosSystem

/// The signals that ask a program to stop, as a descriptor, so that the poll loop can clean up after any of them.
public struct StopSignals: ~Copyable {
    public let descriptor: FileDescriptor

    /// Blocks SIGTERM, SIGINT, SIGHUP and SIGQUIT for delivery through ``descriptor``, and ignores SIGPIPE. Those that whoever
    /// started us has had ignored, as nohup(1) does, stay so.
    ///
    /// Call it before the first thread is made: threads inherit the mask.
    public init() throws(SystemError) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] where !cmandos_is_ignored(signal) {
            unsafe sigaddset(&set, signal)
        }
        try unsafe SystemError.check("blocking signals", sigprocmask(SIG_BLOCK, &set, nil))
        let flags = Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK)
        descriptor = FileDescriptor(
            owning: try unsafe SystemError.check("receiving signals", signalfd(-1, &set, flags)))
        cmandos_ignore_signal(SIGPIPE)
        // Whoever started us may have ignored it, and then nobody could wait for a child.
        cmandos_default_signal(SIGCHLD)
    }

    /// The signal that has come, if any.
    public func next() -> Int32? {
        var information = signalfd_siginfo()
        let transfer = unsafe withUnsafeMutableBytes(of: &information) { try? unsafe descriptor.read(into: $0) }
        guard let transfer, case .bytes = transfer else { return nil }
        return Int32(information.ssi_signo)
    }
}

/// Ends this program the way the signal would have, so that whoever waits for it sees why.
public func dieOf(_ signalNumber: Int32) -> Never {
    cmandos_default_signal(signalNumber)
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signalNumber)
    _ = unsafe sigprocmask(SIG_UNBLOCK, &set, nil)
    raise(signalNumber)
    exit(128 + signalNumber)
}

/// Ignores a signal, also in the programs that are run from now on unless they are told otherwise.
public func ignoreSignal(_ number: Int32) { cmandos_ignore_signal(number) }
