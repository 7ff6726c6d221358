public import CMandosSystem
public import MandosFormats

/// A child of this process, held by its pidfd.
///
/// Its number stays its own until its status is collected; no method may be called after that.
public struct ChildProcess: ~Copyable, Sendable {
    /// The process group that a child belongs to, and so the signals that reach it.
    public enum Group: Sendable {
        /// Ours: the child may read from our terminal.
        case inherited
        /// A new one, which the child leads.
        case own
        /// A new one in a new session: neither our terminal nor our end affects it.
        case ownSession
    }

    /// The processes that get a signal.
    public enum Recipient: Sendable { case process, group }

    public let processID: pid_t
    private let watch: FileDescriptor
    private let leadsGroup: Bool

    /// Becomes readable when the process ends.
    public var descriptor: Int32 { watch.number }

    public var hasEnded: Bool { isReadable(watch.number) }

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only; `standard` are its
    /// standard input, output and error, and it gets no other descriptor. No signal is blocked or ignored for it.
    ///
    /// If our user may not reach `path` any more, the program is started from `file`, an open descriptor of it, if given.
    public static func start(
        _ path: String, arguments: [String], environment: [String], standard: [Int32], directory: String? = nil,
        group: Group = .own, file: Int32? = nil
    ) throws(SystemError) -> ChildProcess {
        // If the program that started us ignores it, no child can be waited for.
        cmandos_default_signal(SIGCHLD)
        let processID = try Spawn(
            path: path, arguments: arguments, environment: environment, standard: standard, directory: directory,
            group: group, file: file
        ).start()
        return try holding(processID, leadsGroup: group != .inherited, path)
    }

    /// Runs `body` in a copy of this process, in our process group; see fork(2). For a process that still has one thread.
    ///
    /// When we end, the child gets `signal`, if one is given.
    public static func fork(
        _ name: @autoclosure () -> String, boundBy signal: Int32? = nil, _ body: () -> Never
    ) throws(SystemError) -> ChildProcess {
        let processID = try SystemError.check(
            "starting " + name(), signal.map { cmandos_fork_bound($0) } ?? cmandos_fork())
        if processID == 0 { body() }
        return try holding(processID, leadsGroup: false, name())
    }

    /// Takes over a child that was just started. A child that cannot be held is killed, with its group if it leads one.
    public static func holding(
        _ processID: pid_t, leadsGroup: Bool, _ name: @autoclosure () -> String
    ) throws(SystemError) -> ChildProcess {
        let number = cmandos_pidfd_open(processID)
        if number < 0 {
            let error = SystemError("watching " + name())
            kill(leadsGroup ? -processID : processID, SIGKILL)
            _ = wait(for: processID)
            throw error
        }
        return ChildProcess(processID: processID, watch: FileDescriptor(owning: number), leadsGroup: leadsGroup)
    }

    // MARK: Its end

    /// Collects its status if it has ended. What it has left behind in its group goes on.
    public borrowing func status() -> TerminationStatus? { Self.status(of: processID, WNOHANG) }

    /// Collects its status if it has ended, and kills what it has left behind in its group.
    public borrowing func statusEndingGroup() -> TerminationStatus? {
        guard hasEnded else { return nil }
        signal(SIGKILL, to: .group)
        return status()
    }

    /// Waits for its end.
    public borrowing func waitForStatus() -> TerminationStatus { Self.wait(for: processID) }

    /// A group is the child's own group, or the child alone if it does not lead one.
    public borrowing func signal(_ number: Int32, to recipient: Recipient = .process) {
        kill(leadsGroup && recipient == .group ? -processID : processID, number)
    }

    /// Kills it and its group, and waits for that.
    @discardableResult
    public borrowing func end() -> TerminationStatus {
        signal(SIGKILL, to: .group)
        return waitForStatus()
    }

    /// Ends it as `teardown` says, and then what is left of its group.
    ///
    /// `wait` waits for the child's end until a deadline, for a caller who has to read its output meanwhile.
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

    private static func wait(for processID: pid_t) -> TerminationStatus {
        while true {
            if let status = status(of: processID, 0) { return status }
        }
    }

    private static func status(of processID: pid_t, _ options: Int32) -> TerminationStatus? {
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, options)
        if ended == 0 || (ended < 0 && cmandos_errno() == EINTR) { return nil }
        // Its status was collected elsewhere, and is lost.
        if ended < 0 { return .signal(SIGKILL) }
        // As WIFEXITED, WEXITSTATUS and WTERMSIG decode it.
        let signal = status & 0x7F
        return signal == 0 ? .exit(status: status >> 8 & 0xFF) : .signal(signal)
    }
}
