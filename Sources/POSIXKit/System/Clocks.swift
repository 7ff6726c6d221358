import CMandosSystem
public import MandosFormats

/// The machine's clocks. Source: clock_gettime(2).
public enum Clocks {
    /// CLOCK_BOOTTIME, in milliseconds: never steps, and continues during suspend.
    public static var boot: Int64 { microseconds(CLOCK_BOOTTIME) / 1000 }

    /// CLOCK_REALTIME, in milliseconds since 1970.
    public static var wall: Int64 { microseconds(CLOCK_REALTIME) / 1000 }

    /// CLOCK_MONOTONIC, in microseconds: the clock and unit of systemd's timestamps.
    public static var monotonic: Int64 { microseconds(CLOCK_MONOTONIC) }

    // In nanoseconds, a clock that is set beyond the year 2262 would not fit.
    private static func microseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // Cannot fail: every Linux kernel has these clocks.
        _ = unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

extension Clocks {
    /// Sets CLOCK_REALTIME forward to `milliseconds` since 1970; never back. Needs CAP_SYS_TIME.
    public static func setWall(forwardTo milliseconds: Int64) throws(SystemError) {
        guard milliseconds > wall else { return }
        var time = timespec()
        time.tv_sec = Int(milliseconds / 1000)
        try unsafe SystemError.check("setting the clock", clock_settime(CLOCK_REALTIME, &time))
    }
}

extension BootTime {
    /// The present time on CLOCK_BOOTTIME.
    public static func now() -> BootTime { BootTime(milliseconds: Clocks.boot) }
}
