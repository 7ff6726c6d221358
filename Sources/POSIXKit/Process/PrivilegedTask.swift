import CMandosSystem
import MandosFormats

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
