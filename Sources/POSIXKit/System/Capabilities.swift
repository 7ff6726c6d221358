import CMandosSystem

/// The capabilities of this process. Source: capabilities(7).
public enum Capabilities {
    private static let readSearch = 2
    private static let netAdmin = 12
    private static let sysTime = 25
    private static let syslog = 34

    /// Drops for good, also for the programs we run, all capabilities except those for interfaces, routes, the clock
    /// and the console.
    public static func keepThoseForTheNetwork() throws(SystemError) {
        let mask = mask([netAdmin, sysTime, syslog])
        try SystemError.check("giving up capabilities", cmandos_limit_capabilities(mask & cmandos_capabilities()))
        try SystemError.check("giving up capabilities", cmandos_set_capabilities(mask))
    }

    /// Turns root into `user`, for good, with nothing that was root's except the right to read all files.
    ///
    /// Without the capability for that, as in some containers, we stay root without any capability: then what root may read is
    /// what belongs to root.
    public static func keepReading(as user: UInt32, group: UInt32) throws(SystemError) {
        let mask = mask([readSearch])
        // This fails without CAP_SETPCAP, as in mandos.service, and is then not needed: see the end.
        _ = cmandos_limit_capabilities(mask)
        if cmandos_capabilities() & mask != 0 {
            try SystemError.check("keeping a capability", cmandos_keep_at_change_of_user())
            try Hardening.become(user: user, group: group, isDroppingGroups: true)
        } else {
            try SystemError.check("giving up groups", cmandos_drop_groups())
        }
        try SystemError.check("giving up capabilities", cmandos_set_capabilities(mask))
        try Hardening.seal()
    }

    private static func mask(_ capabilities: [Int]) -> UInt { capabilities.reduce(into: 0) { $0 |= 1 << UInt($1) } }
}
