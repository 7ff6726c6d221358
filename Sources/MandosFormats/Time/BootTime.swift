/// A point in time on CLOCK_BOOTTIME, in milliseconds. That clock continues during suspend and never steps.
public struct BootTime: Hashable, Comparable, Sendable {
    public let milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func < (left: BootTime, right: BootTime) -> Bool { left.milliseconds < right.milliseconds }
    public static func + (time: BootTime, span: TimeSpan) -> BootTime {
        BootTime(milliseconds: time.milliseconds + span.milliseconds)
    }
    public static func - (left: BootTime, right: BootTime) -> TimeSpan {
        TimeSpan(milliseconds: left.milliseconds - right.milliseconds)
    }

    public func after(milliseconds: Int64) -> BootTime { BootTime(milliseconds: self.milliseconds + milliseconds) }
}
