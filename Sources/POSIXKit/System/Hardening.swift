import CMandosSystem

/// Protections that a program sets up first if its memory holds secrets or it may be set-uid.
public enum Hardening {
    /// Ensures that descriptors 0, 1 and 2 are open, so that no file we open becomes one of them by accident, and
    /// prevents core dumps and access to our memory by a debugger of the same user.
    public static func protectProcess() {
        for number in STDIN_FILENO...STDERR_FILENO where !cmandos_is_open(number) {
            // open(2) returns the lowest free number, which is this one. It is opened in the wrong direction, so that
            // reading or writing a password fails instead of silently losing it.
            _ = unsafe cmandos_open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY, 0)
        }
        _ = cmandos_no_core_dumps()
    }

    /// Replaces settings inherited from the caller, for work done as root: umask, directory, resource limits, priority,
    /// scheduling, CPU affinity and OOM score adjustment. Limits become those of process 1, as far as permitted.
    public static func setPlainSurroundings() {
        _ = umask(0o022)
        _ = unsafe chdir("/")
        cmandos_take_plain_limits()
        cmandos_take_plain_scheduling()
        if let file = try? FileDescriptor.open("/proc/self/oom_score_adj", O_WRONLY) {
            _ = try? file.write([UInt8(ascii: "0")])
        }
    }

    /// Replaces settings inherited from the caller with which this program would fail: umask, a low limit of open descriptors, and
    /// SIGXFSZ, which would end it where writing can fail with EFBIG. `files` is the number of descriptors that it needs.
    public static func setUsableSurroundings(files: UInt32) {
        _ = umask(0o077)
        cmandos_raise_file_limit(files)
        cmandos_ignore_signal(SIGXFSZ)
    }

    /// Whether our effective user comes from the program's set-uid bit, and not from the user who started it.
    public static var isSetUID: Bool { getuid() != geteuid() }

    public static var isRoot: Bool { geteuid() == 0 }

    /// Drops for good the privileges that a set-uid program has beyond those of the user who started it, and all supplementary
    /// groups if it has the privilege to do that.
    ///
    /// - Throws: if the kernel refuses, or if the privileges could still be regained.
    public static func dropPrivileges() throws(SystemError) {
        try become(user: getuid(), group: getgid(), isDroppingGroups: isSetUID && isRoot)
        // Nor through a set-uid program, such as this one.
        try SystemError.check("giving up privileges", cmandos_no_new_privileges())
    }

    /// Ensures that no program that we run has more privileges than we, and that no debugger of the same user can read or
    /// change our memory.
    public static func seal() throws(SystemError) {
        try SystemError.check("giving up privileges", cmandos_no_new_privileges())
        try protectMemory()
    }

    /// Prevents core dumps, and access to our memory and our descriptors by processes of the same user.
    public static func protectMemory() throws(SystemError) {
        try SystemError.check("protecting our memory", cmandos_no_core_dumps())
    }

    /// Sets the real, effective and saved user and group IDs. The kernel then makes our memory readable again for processes of
    /// that user, and forgets the signal for our parent's end; both are put back as they were.
    ///
    /// `isDroppingGroups` also drops all supplementary groups, which requires root.
    ///
    /// - Throws: if the kernel refuses, or if root's privileges could still be regained.
    public static func become(user: UInt32, group: UInt32, isDroppingGroups: Bool = false) throws(SystemError) {
        if isDroppingGroups { try SystemError.check("giving up privileges", cmandos_drop_groups()) }
        try SystemError.check("giving up privileges", cmandos_set_group_ids(group))
        try SystemError.check("giving up privileges", cmandos_set_user_ids(user))
        if user != 0 && setuid(0) == 0 { throw SystemError("giving up privileges", code: EPERM) }
    }

    /// Drops the groups and sets the IDs as far as the kernel allows; reports each refusal to `complain`.
    public static func becomeAsFarAsPossible(user: UInt32, group: UInt32, complain: (String) -> Void) {
        let steps: [(String, () -> Int32)] = [
            ("groups", { cmandos_drop_groups() }), ("group", { cmandos_set_group_ids(group) }),
            ("user", { cmandos_set_user_ids(user) }),
        ]
        for (what, step) in steps where step() < 0 { complain("\(SystemError("giving up root's " + what))") }
    }
}

/// Whether this is the initramfs: the root file system is in memory, and has the program that the kernel starts first. Source:
/// Documentation/filesystems/ramfs-rootfs-initramfs.rst.
public func isInitramfs() -> Bool { cmandos_is_initramfs() }
