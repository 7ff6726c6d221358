public import CMandosSystem
public import MandosFormats

/// A program in a process group of its own, with three descriptors and nothing else of ours.
public struct ChildProcess: ~Copyable, Sendable {
    public let processID: pid_t
    private let watch: FileDescriptor

    /// Becomes readable when it ends.
    public var descriptor: Int32 { watch.number }

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only; `standard` are its
    /// standard input, output and error. No signal is blocked or ignored for it.
    public static func start(
        _ path: String, arguments: [String], environment: [String], standard: [Int32], directory: String? = nil,
        outlivesUs: Bool = false
    ) throws(SystemError) -> ChildProcess {
        // Whoever started us may have ignored it, and then nobody could wait for a child.
        cmandos_default_signal(SIGCHLD)
        let processID = try Spawn(
            path: path, arguments: arguments, environment: environment, standard: standard, directory: directory,
            belonging: outlivesUs ? .toOwnSession : .toOwnGroup
        ).start()
        let watch = try FileDescriptor.watching(processID, leadsGroup: true, "watching " + path)
        return ChildProcess(processID: processID, watch: watch)
    }

    /// How it ended, once it has; to be asked until then, so that nothing of it stays. What it has left behind goes on.
    public borrowing func ending() -> TerminationStatus? { Self.ending(of: processID) }

    /// The same; what it has left behind in its group ends with it.
    public borrowing func endingWithGroup() -> TerminationStatus? {
        guard isReadable(watch.number) else { return nil }
        // Before it has been waited for, while its number is nobody else's.
        killGroup()
        return ending()
    }

    /// How a child ended, once it has.
    public static func ending(of processID: pid_t) -> TerminationStatus? {
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, WNOHANG)
        if ended == 0 || (ended < 0 && cmandos_errno() == EINTR) { return nil }
        // Somebody else has waited for it: how it ended, nobody will know.
        if ended < 0 { return .signal(SIGKILL) }
        let signal = cmandos_ending_signal(status)
        return signal == 0 ? .exit(status: cmandos_exit_status(status)) : .signal(signal)
    }

    /// Ends all of the group that is left.
    public borrowing func killGroup() { kill(-processID, SIGKILL) }

    /// Ends it, and waits for that.
    public borrowing func endGroup() {
        killGroup()
        _ = waitpid(processID, nil, 0)
    }
}

extension ChildProcess {
    /// Asks the process, and nobody else of its group, to end: it knows best how to end the others.
    public borrowing func terminate() { kill(processID, SIGTERM) }
}
