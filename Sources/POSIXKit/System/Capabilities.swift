import CMandosSystem

/// What root may do. Source: capabilities(7).
public enum Capabilities {
    private static let netAdmin = 12
    private static let sysTime = 25
    private static let syslog = 34

    /// Gives up, for good and also for programs that are run, all but what interfaces, routes, the clock and the console
    /// need.
    public static func keepThoseForTheNetwork() throws(SystemError) {
        let mask = [netAdmin, sysTime, syslog].reduce(into: UInt(0)) { $0 |= 1 << UInt($1) }
        try SystemError.check("giving up capabilities", cmandos_keep_capabilities(mask))
    }
}
