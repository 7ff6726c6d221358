import CMandosSystem

/// A process of our own that does one thing whenever it is asked to, and ends when we do.
///
/// It keeps the privileges that this process has at its start, and does that thing in a process made for it, so that
/// nothing of it stays.
public struct PrivilegedTask: ~Copyable, Sendable {
    private let companion: PrivilegedHelper

    /// Starts it; for a process that still has one thread.
    ///
    /// `name` is what ps(1) shows, 15 characters at most. Of our descriptors it keeps one only. `task` says whether it
    /// succeeded; after `limit` seconds it is ended.
    public static func start(
        name: StaticString, keeping descriptor: Int32, limit: UInt32, task: () -> Bool
    ) throws(SystemError) -> PrivilegedTask {
        let companion = try PrivilegedHelper.start(name: name, keeping: [descriptor]) { socket in
            serve(socket, limit: limit, task)
        }
        return PrivilegedTask(companion: companion)
    }

    /// Has it done once, and waits until it is.
    ///
    /// - Returns: whether it succeeded.
    /// - Throws: if the helper is gone.
    public borrowing func run() throws(SystemError) -> Bool {
        // Whatever the kernel calls it, there is nobody on the other side any more.
        guard (try? Self.send(1, to: companion.socket)) != nil, let result = try? Self.receive(from: companion.socket)
        else {
            throw SystemError("asking a process of ours that somebody has ended; restart us", code: ESRCH)
        }
        return result == 1
    }

    private static func serve(_ socket: borrowing FileDescriptor, limit: UInt32, _ task: () -> Bool) {
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
