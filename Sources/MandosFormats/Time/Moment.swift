/// A point in time on both clocks: deadlines use boot time, dates written by people use wall time.
public struct Moment: Equatable, Sendable {
    public let boot: BootTime
    public let wall: Timestamp

    public init(boot: BootTime, wall: Timestamp) {
        self.boot = boot
        self.wall = wall
    }
}
