import CMandosSystem

/// A program that outlives us: it has a session of its own, the directory /, nothing of ours open, and no standard input,
/// output or error.
struct DetachedProgram: ~Copyable {
    private let watch: FileDescriptor
    private let id: pid_t

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only.
    static func start(
        _ path: String, arguments: [String], environment: [String]
    ) throws(SystemError) -> DetachedProgram {
        let null = try FileDescriptor.nothing()
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for number in STDIN_FILENO...STDERR_FILENO {
            unsafe posix_spawn_file_actions_adddup2(&actions, null.number, number)
        }
        unsafe cmandos_spawn_close_from(&actions, STDERR_FILENO + 1)
        unsafe cmandos_spawn_change_directory(&actions, "/")
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        unsafe cmandos_spawn_in_session(&attributes)

        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        var id: pid_t = 0
        let code = unsafe posix_spawn(
            &id, path, &actions, &attributes, argumentList.pointers, environmentList.pointers)
        guard code == 0 else { throw SystemError("starting " + path, code: code) }
        let watch = cmandos_pidfd_open(id)
        guard watch >= 0 else { throw SystemError("watching " + path) }
        return DetachedProgram(watch: FileDescriptor(owning: watch), id: id)
    }

    /// Waits until the process that was started has ended, as one does that goes into the background, but no longer
    /// than that time.
    func waitUntilInBackground(milliseconds: Int64) {
        if waitFor(watch.number, milliseconds: milliseconds) { _ = waitpid(id, nil, WNOHANG) }
    }
}
