import CMandosSystem
public import MandosFormats

/// A forked process with privileges of its own, which ends when we do.
public struct PrivilegedHelper: ~Copyable, Sendable {
    /// The privileges of a helper that root starts.
    public enum Authority: Sendable {
        /// Ours; the helper drops those that it does not need.
        case unchanged
        /// Those of `user`, and reading all files. It cannot start programs that have more.
        case reading(user: UInt32, group: UInt32)
        /// Those of `user`. Its programs may have more.
        case ordinary(user: UInt32, group: UInt32)
    }

    /// Carries whole messages in both directions; the helper reads end of file when we end, for whatever reason.
    public let socket: FileDescriptor
    private let process: ChildProcess

    /// Becomes readable when the helper ends.
    public var descriptor: Int32 { process.descriptor }

    /// Starts the helper; only for a single-threaded process.
    ///
    /// `name` is its name in ps(1), 15 characters at most. It keeps only `descriptors` of ours; other standard
    /// descriptors become /dev/null. It ends when `body`, which gets the other end of the socket, returns; without running
    /// it if it cannot have `authority`.
    public static func start(
        name: StaticString, keeping descriptors: [Int32], authority: Authority = .unchanged,
        body: (borrowing FileDescriptor) -> Void
    ) throws(SystemError) -> PrivilegedHelper {
        let pair = try SocketPair()
        let process = try ChildProcess.fork("the process \(name)") {
            isolate(name, keeping: descriptors + [pair.second.number])
            guard (try? take(authority)) != nil else { _exit(1) }
            body(pair.second)
            _exit(0)
        }
        return PrivilegedHelper(socket: pair.keepFirst(), process: process)
    }

    /// Closes the socket, which ends the helper, and waits for its end.
    public consuming func end() {
        let process = consume process
        _ = consume socket
        _ = process.waitForStatus()
    }

    /// Closes the socket, which ends the helper, and waits for its end, but no longer than until `deadline`.
    ///
    /// - Returns: how it has ended; nil if it has not.
    public consuming func end(by deadline: BootTime) -> TerminationStatus? {
        let process = consume process
        _ = consume socket
        return waitUntilReadable(process.descriptor, until: deadline) ? process.waitForStatus() : nil
    }

    private static func take(_ authority: Authority) throws(SystemError) {
        switch authority {
        case .unchanged: break
        case .reading(let user, let group): try Capabilities.keepReading(as: user, group: group)
        case .ordinary(let user, let group):
            try Hardening.become(user: user, group: group, isDroppingGroups: true)
            try Hardening.protectMemory()
        }
    }

    /// Isolates this process, a forked one: killall(1) by our name does not match it, terminal signals do not reach it, and it does not
    /// hold our output open for a reader that waits for end of file.
    static func isolate(_ name: StaticString, keeping descriptors: [Int32]) {
        _ = setsid()
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE] { cmandos_ignore_signal(signal) }
        cmandos_default_signal(SIGCHLD)
        unsafe cmandos_set_name(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
        closeStandard(except: descriptors)
        // Closes all others, such as systemd's sockets and our end of the pair.
        var first = STDERR_FILENO + 1
        for descriptor in descriptors.sorted() where descriptor >= first {
            if first < descriptor { cmandos_close_range(UInt32(first), UInt32(descriptor - 1)) }
            first = descriptor + 1
        }
        cmandos_close_range(UInt32(first), UInt32.max)
    }

    /// Has the standard descriptors refer to nothing: to /dev/null, or, without that file, to a pipe that nobody writes to.
    private static func closeStandard(except descriptors: [Int32]) {
        guard let nothing = (try? FileDescriptor.nothing()) ?? (try? Pipe().keepReading()) else { return }
        for number in STDIN_FILENO...STDERR_FILENO where !descriptors.contains(number) {
            _ = dup2(nothing.number, number)
        }
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

/// A privileged helper that performs one task on request.
///
/// Each request runs in a new process, so that no state of the task stays in the helper.
public struct PrivilegedTask: ~Copyable, Sendable {
    private let helper: PrivilegedHelper
    private let limit: UInt32

    /// How many seconds after its limit a process that cannot be ended, because the kernel waits for a disk or a network file
    /// system, is left behind; and how many later the helper itself is given up.
    private static let patience: UInt32 = 5

    /// Becomes readable when the helper ends.
    public var descriptor: Int32 { helper.descriptor }

    /// Starts the helper; only for a single-threaded process.
    ///
    /// `name` is its name in ps(1), 15 characters at most. It keeps only `descriptor` of ours. `task` returns whether
    /// it succeeded; it is ended after `limit` seconds.
    ///
    /// - Throws: also if the helper cannot have `authority`.
    public static func start(
        name: StaticString, keeping descriptor: Int32, authority: PrivilegedHelper.Authority, limit: UInt32,
        task: () -> Bool
    ) throws(SystemError) -> PrivilegedTask {
        let helper = try PrivilegedHelper.start(name: name, keeping: [descriptor], authority: authority) { socket in
            guard (try? socket.send(1)) != nil else { return }
            serve(socket, limit: limit, task)
        }
        guard try helper.socket.receiveByte() != nil else {
            throw SystemError("giving up the privileges of the process \(name)", code: EPERM)
        }
        return PrivilegedTask(helper: helper, limit: limit)
    }

    /// Performs the task once, and waits for its end.
    ///
    /// - Returns: whether the task succeeded.
    /// - Throws: if the helper has ended, or does not answer; it cannot be used any more.
    public borrowing func run() throws(SystemError) -> Bool {
        // Any failure of these means that the helper has ended.
        let hasEnded = SystemError("asking the helper", code: ESRCH)
        guard (try? helper.socket.send(1)) != nil else { throw hasEnded }
        guard waitUntilReadable(helper.socket.number, until: Self.deadline(limit + 2 * Self.patience)) else {
            throw SystemError("asking the helper", code: ETIMEDOUT)
        }
        guard let result = try? helper.socket.receiveByte() else { throw hasEnded }
        return result == 1
    }

    private static func deadline(_ seconds: UInt32) -> BootTime { .now().after(milliseconds: Int64(seconds) * 1000) }

    private static func serve(_ socket: borrowing FileDescriptor, limit: UInt32, _ task: () -> Bool) {
        while (try? socket.receiveByte()) != nil {
            // Collects those that were left behind.
            while waitpid(-1, nil, WNOHANG) > 0 {}
            guard (try? socket.send(runOnce(limit, task) ? 1 : 0)) != nil else { break }
        }
    }

    private static func runOnce(_ limit: UInt32, _ task: () -> Bool) -> Bool {
        let process: ChildProcess
        do throws(SystemError) {
            process = try ChildProcess.fork("the task") {
                _ = alarm(limit)
                _exit(task() ? 0 : 1)
            }
        } catch {
            return false
        }
        guard waitUntilReadable(process.descriptor, until: deadline(limit + patience)) else {
            // It ends as soon as the kernel lets it, without another step of the task.
            process.signal(SIGKILL)
            return false
        }
        return process.waitForStatus() == .success
    }
}
