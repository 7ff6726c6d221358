import CMandosSystem

/// The machine's clocks. Source: clock_gettime(2).
public enum Clocks {
    /// CLOCK_BOOTTIME, in milliseconds: never steps, and goes on during suspend.
    public static var boot: Int64 { nanoseconds(CLOCK_BOOTTIME) / 1_000_000 }

    /// CLOCK_REALTIME, in milliseconds since 1970.
    public static var wall: Int64 { nanoseconds(CLOCK_REALTIME) / 1_000_000 }

    /// CLOCK_MONOTONIC, in microseconds: what systemd counts in.
    public static var monotonic: Int64 { nanoseconds(CLOCK_MONOTONIC) / 1000 }

    private static func nanoseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // Every Linux has these clocks.
        _ = unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
