public import MandosFormats
import POSIXKit

/// Reads the two clocks of the machine.
public enum SystemClock {
    public static func now() -> Moment {
        Moment(
            boot: BootTime(milliseconds: Clocks.boot), wall: Timestamp(millisecondsSince1970: Clocks.wall))
    }
}
