import CMandosSystem
import MandosFormats

/// A process of this program that keeps the privileges we have at its start, and ends when we do.
public struct PrivilegedHelper: ~Copyable, Sendable {
    /// Carries messages to it and from it, each whole; it sees the end when we are gone, however that happens.
    public let socket: FileDescriptor
    private let process: ChildProcess

    /// Starts it; for a process that still has one thread.
    ///
    /// `name` is its name in ps(1), 15 characters at most. Of our descriptors it keeps `descriptors` only, and a standard
    /// one that is not among them leads to /dev/null. It ends when `body`, which gets the other end of the socket, does.
    public static func start(
        name: StaticString, keeping descriptors: [Int32], body: (borrowing FileDescriptor) -> Void
    ) throws(SystemError) -> PrivilegedHelper {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check(
            "making a pair of sockets",
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends))
        let ours = FileDescriptor(owning: ends[0])
        let its = FileDescriptor(owning: ends[1])
        let process = try ChildProcess.fork("the process \(name)") {
            become(name, keeping: descriptors + [its.number])
            body(its)
            _exit(0)
        }
        return PrivilegedHelper(socket: ours, process: process)
    }

    /// Lets it end, and waits for that.
    public consuming func end() {
        let process = consume process
        _ = consume socket
        _ = process.waitForStatus()
    }

    /// killall(1) by our name does not match it, terminal signals do not reach it, and nothing that waits for the end of our
    /// output waits for it.
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
        // It needs neither systemd's sockets nor our end of the pair.
        var first = STDERR_FILENO + 1
        for descriptor in descriptors.sorted() where descriptor >= first {
            if first < descriptor { cmandos_close_range(UInt32(first), UInt32(descriptor - 1)) }
            first = descriptor + 1
        }
        cmandos_close_range(UInt32(first), UInt32.max)
    }
}

extension FileDescriptor {
    /// Sends a message of one byte.
    public func send(_ byte: UInt8) throws(SystemError) { try write([byte]) }

    /// Receives a message of one byte; nil if the other side has closed the socket.
    public func receiveByte() throws(SystemError) -> UInt8? {
        var byte: [UInt8] = [0]
        return try read(into: &byte) == .bytes(1) ? byte[0] : nil
    }
}

/// A privileged helper that performs one task whenever we ask for it.
///
/// It performs the task in a process made for it, so that nothing of it stays in the helper.
public struct PrivilegedTask: ~Copyable, Sendable {
    private let helper: PrivilegedHelper

    /// Starts the helper; for a process that still has one thread.
    ///
    /// `name` is its name in ps(1), 15 characters at most. Of our descriptors it keeps one only. `task` says whether it
    /// succeeded; after `limit` seconds it is ended.
    public static func start(
        name: StaticString, keeping descriptor: Int32, limit: UInt32, task: () -> Bool
    ) throws(SystemError) -> PrivilegedTask {
        let helper = try PrivilegedHelper.start(name: name, keeping: [descriptor]) { socket in
            serve(socket, limit: limit, task)
        }
        return PrivilegedTask(helper: helper)
    }

    /// Has the task performed once, and waits for its end.
    ///
    /// - Returns: whether it succeeded.
    /// - Throws: if the helper is gone.
    public borrowing func run() throws(SystemError) -> Bool {
        // Whatever the kernel's reason, there is no process on the other side any more.
        guard (try? helper.socket.send(1)) != nil, let result = try? helper.socket.receiveByte() else {
            throw SystemError("asking a process of ours that somebody has ended; restart us", code: ESRCH)
        }
        return result == 1
    }

    private static func serve(_ socket: borrowing FileDescriptor, limit: UInt32, _ task: () -> Bool) {
        while (try? socket.receiveByte()) != nil {
            let process = try? ChildProcess.fork("the task") {
                _ = alarm(limit)
                _exit(task() ? 0 : 1)
            }
            let isDone = process?.waitForStatus() == .success
            guard (try? socket.send(isDone ? 1 : 0)) != nil else { break }
        }
    }
}
