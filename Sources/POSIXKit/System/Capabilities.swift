import CMandosSystem

/// The capabilities of this process. Source: capabilities(7).
public enum Capabilities {
    private static let netAdmin = 12
    private static let sysTime = 25
    private static let syslog = 34

    /// Drops for good, also for the programs we run, all capabilities except those for interfaces, routes, the clock
    /// and the console.
    public static func keepThoseForTheNetwork() throws(SystemError) {
        let mask = [netAdmin, sysTime, syslog].reduce(into: UInt(0)) { $0 |= 1 << UInt($1) }
        try SystemError.check("giving up capabilities", cmandos_keep_capabilities(mask))
    }
}
