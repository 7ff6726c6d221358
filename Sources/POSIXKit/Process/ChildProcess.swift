public import CMandosSystem
public import MandosFormats

/// A child of this process, held by its pidfd, or, on a kernel without, watched by a thread.
///
/// The process ID is not reused until the exit status is collected; call no method after that.
public struct ChildProcess: ~Copyable, Sendable {
    /// The process group of a child, which decides which signals reach it.
    public enum Group: Sendable {
        /// Our group: the child may read from our terminal.
        case inherited
        /// A new group, led by the child.
        case own
        /// A new group in a new session: neither our terminal nor our end affects the child.
        case ownSession
    }

    /// The processes that receive a signal.
    public enum Recipient: Sendable { case process, group }

    public let processID: pid_t
    private let watch: FileDescriptor
    private let leadsGroup: Bool

    /// Becomes readable when the process ends.
    public var descriptor: Int32 { watch.number }

    public var hasEnded: Bool { isReadable(watch.number) }

    /// Starts the program at `path` with `arguments`, its own name first, and only `environment`; `standard` are its
    /// standard input, output and error, and any descriptors from 3 on; it gets no others. No signal is blocked or ignored
    /// in it.
    ///
    /// If our user may no longer access `path`, the program is started from `file`, an open descriptor of it, if given.
    public static func start(
        _ path: String, arguments: [String], environment: [String], standard: [Int32], directory: String? = nil,
        group: Group = .own, file: Int32? = nil
    ) throws(SystemError) -> ChildProcess {
        // If the program that started us ignores SIGCHLD, no child's status can be collected.
        cmandos_default_signal(SIGCHLD)
        let processID = try Spawn(
            path: path, arguments: arguments, environment: environment, standard: standard, directory: directory,
            group: group, file: file
        ).start()
        return try holding(processID, leadsGroup: group != .inherited, path)
    }

    /// Runs `body` in a copy of this process, in our process group; see fork(2). Only for a single-threaded process.
    ///
    /// The child receives `signal`, if given, when we end.
    public static func fork(
        _ name: @autoclosure () -> String, boundBy signal: Int32? = nil, _ body: () -> Never
    ) throws(SystemError) -> ChildProcess {
        let processID = try SystemError.check(
            "starting " + name(), signal.map { cmandos_fork_bound($0) } ?? cmandos_fork())
        if processID == 0 { body() }
        return try holding(processID, leadsGroup: false, name())
    }

    /// Takes over a child that was just started. If it cannot be watched, the child is killed, with its group if it leads one.
    public static func holding(
        _ processID: pid_t, leadsGroup: Bool, _ name: @autoclosure () -> String
    ) throws(SystemError) -> ChildProcess {
        let number = cmandos_watch_child(processID)
        if number < 0 {
            let error = SystemError("watching " + name())
            kill(leadsGroup ? -processID : processID, SIGKILL)
            _ = wait(for: processID)
            throw error
        }
        return ChildProcess(processID: processID, watch: FileDescriptor(owning: number), leadsGroup: leadsGroup)
    }

    // MARK: Termination

    /// Collects the exit status if the child has ended. The rest of its group continues.
    public borrowing func status() -> TerminationStatus? { Self.status(of: processID, WNOHANG) }

    /// Collects the exit status if the child has ended, and kills the rest of its group.
    public borrowing func statusEndingGroup() -> TerminationStatus? {
        guard hasEnded else { return nil }
        signal(SIGKILL, to: .group)
        return status()
    }

    /// Waits for the child's end, and collects its exit status.
    public borrowing func waitForStatus() -> TerminationStatus { Self.wait(for: processID) }

    /// Sends a signal to the child or its group; if the child leads none, to the child alone.
    public borrowing func signal(_ number: Int32, to recipient: Recipient = .process) {
        kill(leadsGroup && recipient == .group ? -processID : processID, number)
    }

    /// Kills the child and its group, and waits for the child's end.
    @discardableResult
    public borrowing func end() -> TerminationStatus {
        signal(SIGKILL, to: .group)
        return waitForStatus()
    }

    /// Ends the child as `teardown` says, then kills the rest of its group.
    ///
    /// `wait` waits for the child's end until a deadline, for a caller that must read its output meanwhile.
    @discardableResult
    public borrowing func end(
        by teardown: Teardown, signalling recipient: Recipient = .process, _ wait: ((BootTime) -> Void)? = nil
    ) -> TerminationStatus {
        teardown.run {
            signal($0, to: recipient)
        } hasEnded: { deadline in
            if let wait { wait(deadline) } else { _ = waitUntilReadable(watch.number, until: deadline) }
            return hasEnded
        }
        return end()
    }

    fileprivate static func wait(for processID: pid_t) -> TerminationStatus {
        while true {
            if let status = status(of: processID, 0) { return status }
        }
    }

    private static func status(of processID: pid_t, _ options: Int32) -> TerminationStatus? {
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, options)
        if ended == 0 || (ended < 0 && cmandos_errno() == EINTR) { return nil }
        // The status was collected elsewhere, and is lost.
        return ended < 0 ? .signal(SIGKILL) : decoded(status)
    }

    /// Decoded as by WIFEXITED, WEXITSTATUS and WTERMSIG.
    fileprivate static func decoded(_ status: Int32) -> TerminationStatus {
        let signal = status & 0x7F
        return signal == 0 ? .exit(status: status >> 8 & 0xFF) : .signal(signal)
    }
}

/// All children of a single-threaded process, which holds none by itself.
///
/// A process ID belongs to its child until ``nextEnded()`` has returned it.
public struct Children: ~Copyable {
    private let signals: FileDescriptor

    /// Blocks SIGCHLD, for delivery through ``descriptor``.
    public init() throws(SystemError) {
        signals = FileDescriptor(owning: try SystemError.check("receiving signals", cmandos_child_signals()))
    }

    /// Becomes readable when a child has ended; then call ``nextEnded()`` until it returns nil.
    public var descriptor: Int32 { signals.number }

    /// Starts a program as ``ChildProcess/start(_:arguments:environment:standard:directory:group:file:)`` does, as the
    /// leader of a process group of its own.
    public func start(
        _ path: String, arguments: [String], environment: [String], standard: [Int32], directory: String?
    ) throws(SystemError) -> pid_t {
        try Spawn(
            path: path, arguments: arguments, environment: environment, standard: standard, directory: directory,
            group: .own, file: nil
        ).start()
    }

    /// Sends SIGKILL to the process group of a child.
    public func killGroup(of processID: pid_t) { kill(-processID, SIGKILL) }

    /// Collects the exit status of a child that has ended, if there is one.
    public func nextEnded() -> (processID: pid_t, status: TerminationStatus)? {
        var information = signalfd_siginfo()
        _ = unsafe withUnsafeMutableBytes(of: &information) { try? unsafe signals.read(into: $0) }
        var status: Int32 = 0
        let processID = unsafe waitpid(-1, &status, WNOHANG)
        return processID > 0 ? (processID, ChildProcess.decoded(status)) : nil
    }

    /// Waits for the end of a child.
    public func wait(for processID: pid_t) { _ = ChildProcess.wait(for: processID) }
}
