import CMandosSystem

/// A process of our own that does one thing whenever it is asked to, and ends when we do.
///
/// It keeps the privileges that this process has at its start, and does that thing in a process made for it, so that
/// nothing of it stays.
public struct HelperProcess: ~Copyable, Sendable {
    private let socket: FileDescriptor

    /// Starts it; for a process that still has one thread.
    ///
    /// `name` is what ps(1) shows, 15 characters at most. Of our descriptors it keeps one only. `task` says whether it
    /// succeeded; after `limit` seconds it is ended.
    public static func start(
        name: StaticString, keeping descriptor: Int32, limit: UInt32, task: () -> Bool
    ) throws(SystemError) -> HelperProcess {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check(
            "making a pair of sockets",
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends))
        let ours = FileDescriptor(owning: ends[0])
        let its = FileDescriptor(owning: ends[1])
        guard try forkProcess("starting the process \(name)") == 0 else { return HelperProcess(socket: ours) }
        _ = consume ours
        become(name, keeping: [its.number, descriptor])
        serve(consume its, limit: limit, task)
    }

    /// Has it done once, and waits until it is.
    ///
    /// - Returns: whether it succeeded.
    /// - Throws: if the helper is gone.
    public borrowing func run() throws(SystemError) -> Bool {
        // Whatever the kernel calls it, there is nobody on the other side any more.
        guard (try? Self.send(1, to: socket)) != nil, let result = try? Self.receive(from: socket) else {
            throw SystemError("asking a process of ours that somebody has ended; restart us", code: ESRCH)
        }
        return result == 1
    }

    /// Whoever looks for us by name, or signals our terminal, does not mean the helper. Nothing that waits for the end
    /// of our output waits for it.
    private static func become(_ name: StaticString, keeping descriptors: [Int32]) {
        _ = setsid()
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE] { cmandos_ignore_signal(signal) }
        cmandos_default_signal(SIGCHLD)
        unsafe cmandos_set_name(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
        if let null = try? FileDescriptor.open("/dev/null", O_RDWR) {
            for number in STDIN_FILENO...STDERR_FILENO { _ = dup2(null.number, number) }
        }
        // Neither a socket of systemd's nor anything else is its business.
        var first = STDERR_FILENO + 1
        for descriptor in descriptors.sorted() {
            if first < descriptor { cmandos_close_range(UInt32(first), UInt32(descriptor - 1)) }
            first = descriptor + 1
        }
        cmandos_close_range(UInt32(first), UInt32.max)
    }

    private static func serve(_ socket: consuming FileDescriptor, limit: UInt32, _ task: () -> Bool) -> Never {
        let socket = consume socket
        while (try? receive(from: socket)) != nil {
            let process = cmandos_fork()
            if process == 0 {
                _ = alarm(limit)
                _exit(task() ? 0 : 1)
            }
            var status: Int32 = -1
            if process > 0 {
                while unsafe waitpid(process, &status, 0) < 0 && cmandos_errno() == EINTR {}
            }
            guard (try? send(status == 0 ? 1 : 0, to: socket)) != nil else { break }
        }
        _exit(0)
    }

    private static func send(_ byte: UInt8, to socket: borrowing FileDescriptor) throws(SystemError) {
        let bytes = [byte]
        _ = try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(SystemError) in
            try unsafe socket.write(UnsafeRawBufferPointer(bytes))
        }
    }

    /// - Returns: nil if the other side is gone.
    private static func receive(from socket: borrowing FileDescriptor) throws(SystemError) -> UInt8? {
        var byte: [UInt8] = [0]
        let transfer = try unsafe byte.withUnsafeMutableBufferPointer { (buffer) throws(SystemError) in
            try unsafe socket.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        return transfer == .bytes(1) ? byte[0] : nil
    }
}

/// fork(2). For a process that still has one thread.
func forkProcess(_ action: @autoclosure () -> String) throws(SystemError) -> pid_t {
    try SystemError.check(action(), cmandos_fork())
}

/// Ignores a signal, also in the programs that are run from now on unless they are told otherwise.
public func ignoreSignal(_ number: Int32) { cmandos_ignore_signal(number) }

extension FileDescriptor {
    /// A file that is nowhere but in memory, and gone with its last descriptor.
    public static func inMemory(_ name: StaticString) throws(SystemError) -> FileDescriptor {
        let characters = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return FileDescriptor(
            owning: try SystemError.check("making a file in memory", unsafe cmandos_memory_file(characters)))
    }
}
