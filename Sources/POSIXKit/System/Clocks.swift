import CMandosSystem
public import MandosFormats

/// The machine's clocks. Source: clock_gettime(2).
public enum Clocks {
    /// CLOCK_BOOTTIME, in milliseconds: never steps, and continues during suspend.
    public static var boot: Int64 { nanoseconds(CLOCK_BOOTTIME) / 1_000_000 }

    /// CLOCK_REALTIME, in milliseconds since 1970.
    public static var wall: Int64 { nanoseconds(CLOCK_REALTIME) / 1_000_000 }

    /// CLOCK_MONOTONIC, in microseconds: the clock and unit of systemd's timestamps.
    public static var monotonic: Int64 { nanoseconds(CLOCK_MONOTONIC) / 1000 }

    private static func nanoseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // Cannot fail: every Linux kernel has these clocks.
        _ = unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
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
