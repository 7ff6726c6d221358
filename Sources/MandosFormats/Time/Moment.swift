/// One reading of both clocks: deadlines are kept in boot time, dates that people write in wall time.
public struct Moment: Equatable, Sendable {
    public let boot: BootTime
    public let wall: Timestamp

    public init(boot: BootTime, wall: Timestamp) {
        self.boot = boot
        self.wall = wall
    }
}
