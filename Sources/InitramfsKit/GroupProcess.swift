public import CMandosSystem

/// A program in a process group of its own, with three descriptors and nothing else of ours.
public struct GroupProcess: ~Copyable, Sendable {
    /// How it ended.
    public enum Ending: Equatable, Sendable {
        case exit(status: Int32)
        case signal(Int32)
    }

    public let processID: pid_t
    private let watch: FileDescriptor

    /// Becomes readable when it ends.
    public var descriptor: Int32 { watch.number }

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only; `standard` are its
    /// standard input, output and error. No signal is blocked or ignored for it.
    public static func start(
        _ path: String, arguments: [String], environment: [String], standard: [Int32], directory: String? = nil
    ) throws(SystemError) -> GroupProcess {
        // Whoever started us may have ignored it, and then nobody could wait for a child.
        cmandos_default_signal(SIGCHLD)
        let processID = try spawn(path, arguments, environment, standard, directory)
        let watch = cmandos_pidfd_open(processID)
        guard watch >= 0 else {
            let error = SystemError("watching " + path)
            kill(-processID, SIGKILL)
            _ = waitpid(processID, nil, 0)
            throw error
        }
        return GroupProcess(processID: processID, watch: FileDescriptor(owning: watch))
    }

    /// How it ended, once it has; to be asked until then, so that nothing of it stays.
    public borrowing func ending() -> Ending? {
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, WNOHANG)
        if ended == 0 || (ended < 0 && cmandos_errno() == EINTR) { return nil }
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

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], _ standard: [Int32], _ directory: String?
    ) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in standard.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        }
        unsafe cmandos_spawn_close_from(&actions, Int32(standard.count))
        if let directory { unsafe cmandos_spawn_change_directory(&actions, directory) }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))

        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        var processID: pid_t = 0
        let code = unsafe posix_spawn(
            &processID, path, &actions, &attributes, argumentList.pointers, environmentList.pointers)
        guard code == 0 else { throw SystemError("starting " + path, code: code) }
        return processID
    }
}
