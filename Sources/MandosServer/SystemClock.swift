import Glibc
public import MandosCore
import MandosFormats

/// Reads the two clocks of the machine.
public enum SystemClock {
    public static func now() -> Moment {
        Moment(
            boot: BootTime(milliseconds: read(CLOCK_BOOTTIME)),
            wall: Timestamp(millisecondsSince1970: read(CLOCK_REALTIME)))
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        let result = unsafe clock_gettime(clock, &time)
        precondition(result == 0, "every Linux has CLOCK_BOOTTIME and CLOCK_REALTIME")
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
