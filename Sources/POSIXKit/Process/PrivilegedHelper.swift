public import CMandosSystem

/// A process of our own that keeps the privileges we have at its start, and ends when we do.
public struct PrivilegedHelper: ~Copyable, Sendable {
    /// Messages to it and from it, each whole; it sees the end when we are gone, however that happens.
    public let socket: FileDescriptor
    private let processID: pid_t

    /// Starts it; for a process that still has one thread.
    ///
    /// `name` is what ps(1) shows, 15 characters at most. Of our descriptors it keeps `descriptors` only, and the standard
    /// ones lead nowhere unless they are among those. It ends when `body`, which has the other end of the socket, does.
    public static func start(
        name: StaticString, keeping descriptors: [Int32], body: (borrowing FileDescriptor) -> Void
    ) throws(SystemError) -> PrivilegedHelper {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check(
            "making a pair of sockets",
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends))
        let ours = FileDescriptor(owning: ends[0])
        let its = FileDescriptor(owning: ends[1])
        let processID = try forkProcess("starting the process \(name)")
        guard processID == 0 else { return PrivilegedHelper(socket: ours, processID: processID) }
        _ = consume ours
        become(name, keeping: descriptors + [its.number])
        body(its)
        _exit(0)
    }

    /// Lets it end, and waits for that.
    public consuming func end() {
        let processID = processID
        _ = consume socket
        while waitpid(processID, nil, 0) < 0 && cmandos_errno() == EINTR {}
    }

    /// Whoever looks for us by name, or signals our terminal, does not mean it. Nothing that waits for the end of our output
    /// waits for it.
    private static func become(_ name: StaticString, keeping descriptors: [Int32]) {
        _ = setsid()
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE] { cmandos_ignore_signal(signal) }
        cmandos_default_signal(SIGCHLD)
        unsafe cmandos_set_name(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
        if let null = try? FileDescriptor.nothing() {
            for number in STDIN_FILENO...STDERR_FILENO where !descriptors.contains(number) {
                _ = dup2(null.number, number)
            }
        }
        // Neither a socket of systemd's nor anything else is its business.
        var first = STDERR_FILENO + 1
        for descriptor in descriptors.sorted() where descriptor >= first {
            if first < descriptor { cmandos_close_range(UInt32(first), UInt32(descriptor - 1)) }
            first = descriptor + 1
        }
        cmandos_close_range(UInt32(first), UInt32.max)
    }
}

/// fork(2). For a process that still has one thread. When we end, the child gets `signal`, if there is one.
public func forkProcess(_ action: @autoclosure () -> String, boundBy signal: Int32? = nil) throws(SystemError) -> pid_t
{
    try SystemError.check(action(), signal.map { cmandos_fork_bound($0) } ?? cmandos_fork())
}
