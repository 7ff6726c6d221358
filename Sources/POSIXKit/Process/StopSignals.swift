import CMandosSystem

/// The signals that ask a program to stop, delivered through a descriptor, so that a poll loop can clean up after them.
public struct StopSignals: ~Copyable {
    public let descriptor: FileDescriptor
    /// Standard output, if it is a pipe whose reader's end stops this program too.
    private let watchedOutput: Int32?

    public static let numbers = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]

    /// Blocks SIGTERM, SIGINT, SIGHUP and SIGQUIT for delivery through ``descriptor``, and ignores SIGPIPE. Signals
    /// that were ignored when we were started, as by nohup(1), stay ignored.
    ///
    /// If `endingWithReader`, and standard output is a pipe, the program is stopped by SIGPIPE as soon as no process can
    /// read from that pipe any more: its reader was killed, and cannot end us. Source: poll(2), POLLERR.
    ///
    /// Call it before the first thread is created: threads inherit the signal mask.
    public init(endingWithReader: Bool = false) throws(SystemError) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in Self.numbers where !cmandos_is_ignored(signal) {
            unsafe sigaddset(&set, signal)
        }
        try unsafe SystemError.check("blocking signals", sigprocmask(SIG_BLOCK, &set, nil))
        let flags = Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK)
        descriptor = FileDescriptor(
            owning: try unsafe SystemError.check("receiving signals", signalfd(-1, &set, flags)))
        var status = stat()
        let isPipe = unsafe fstat(STDOUT_FILENO, &status) == 0 && status.isFIFO
        watchedOutput = endingWithReader && isPipe ? STDOUT_FILENO : nil
        cmandos_ignore_signal(SIGPIPE)
        // If the program that started us ignores SIGCHLD, no child's status can be collected.
        cmandos_default_signal(SIGCHLD)
    }

    /// Adds the events after which ``next()`` returns a signal.
    public func register(in set: inout PollSet) {
        set.add(descriptor.number)
        if let watchedOutput { set.add(watchedOutput, for: .hangUp) }
    }

    /// The next signal received, if any; SIGPIPE if the reader of the watched output is gone. Never waits.
    public func next() -> Int32? {
        var information = signalfd_siginfo()
        let transfer = unsafe withUnsafeMutableBytes(of: &information) { try? unsafe descriptor.read(into: $0) }
        if let transfer, case .bytes = transfer { return Int32(information.ssi_signo) }
        guard let watchedOutput else { return nil }
        return hasHungUp(watchedOutput) ? SIGPIPE : nil
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
