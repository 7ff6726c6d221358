import CMandosSystem

/// What a program does first if its memory holds secrets or it may be set-uid.
public enum Hardening {
    /// Makes sure that descriptors 0, 1 and 2 are open, so that no file we open becomes one of them by accident,
    /// and that neither a core dump nor a debugger of the same user gets at our memory.
    public static func protectProcess() {
        for number in STDIN_FILENO...STDERR_FILENO where !cmandos_is_open(number) {
            // open(2) returns the lowest free number, which is this one. It cannot be used the way it is meant, so that
            // a password that goes nowhere is noticed.
            _ = unsafe cmandos_open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY, 0)
        }
        _ = cmandos_no_core_dumps()
    }

    /// Gives up, for what is done for root, what the caller may have set up for us: umask, directory, limits of resources,
    /// priority, scheduling, processors, and which process the kernel ends first when it is out of memory. Limits are those
    /// of the first process, as far as we may have them.
    public static func setPlainSurroundings() {
        _ = umask(0o022)
        _ = unsafe chdir("/")
        cmandos_take_plain_limits()
        cmandos_take_plain_scheduling()
        if let file = try? FileDescriptor.open("/proc/self/oom_score_adj", O_WRONLY) {
            _ = try? file.write([UInt8(ascii: "0")])
        }
    }

    /// Whether we have root's privilege from the program's file, and not from who started it.
    public static var isSetUID: Bool { getuid() != geteuid() }

    public static var isRoot: Bool { geteuid() == 0 }

    /// Gives up for good what a set-uid program has beyond who started it.
    ///
    /// - Throws: if the kernel refuses, or if the privilege could still be had back.
    public static func dropPrivileges() throws(SystemError) {
        try become(user: getuid(), group: getgid())
        // Nor by way of a set-uid program, such as ourselves.
        try SystemError.check("giving up privileges", cmandos_no_new_privileges())
    }

    /// Becomes another user and group in every sense: real, effective and saved.
    ///
    /// `isDroppingGroups` also gives up all supplementary groups, which takes root.
    ///
    /// - Throws: if the kernel refuses, or if root's privilege could still be had back.
    public static func become(user: UInt32, group: UInt32, isDroppingGroups: Bool = false) throws(SystemError) {
        if isDroppingGroups { try SystemError.check("giving up privileges", cmandos_drop_groups()) }
        try SystemError.check("giving up privileges", cmandos_set_group_ids(group))
        try SystemError.check("giving up privileges", cmandos_set_user_ids(user))
        if user != 0 && setuid(0) == 0 { throw SystemError("giving up privileges", code: EPERM) }
    }

    /// The same, and as much of it as the kernel allows: what it does not allow is said to `complain`.
    public static func becomeAsFarAsPossible(user: UInt32, group: UInt32, complain: (String) -> Void) {
        let steps: [(String, () -> Int32)] = [
            ("groups", { cmandos_drop_groups() }), ("group", { cmandos_set_group_ids(group) }),
            ("user", { cmandos_set_user_ids(user) }),
        ]
        for (what, step) in steps where step() < 0 { complain("\(SystemError("giving up root's " + what))") }
    }
}
