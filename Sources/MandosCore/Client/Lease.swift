public import MandosFormats

/// How long an enabled client stays enabled without a sign of life, and the state of its next check.
///
/// Source: mandos(8), CHECKING.
public struct Lease: Equatable, Sendable {
    public enum Check: Equatable, Sendable {
        case scheduled(due: BootTime)
        /// Due, but all checkers that may run at once are running.
        case queued(since: BootTime, due: BootTime)
        case running(due: BootTime)
    }

    /// The end of the lease: from this time on the client counts as disabled, unless its check is queued.
    public internal(set) var until: BootTime
    public internal(set) var check: Check
    /// How far the end was put off since the last sign of life because checks were queued.
    private(set) var graceUsed = TimeSpan.zero

    init(until: BootTime, check: Check) {
        self.until = until
        self.check = check
    }

    /// The end as seen at `now`. While the check is queued, the end moves with the time, by `maximumGrace` in all.
    func end(at now: BootTime, maximumGrace: TimeSpan) -> BootTime {
        guard case .queued(let since, _) = check, since < until else { return until }
        return until + max(.zero, min(now - since, maximumGrace - graceUsed))
    }

    /// Records that the check is no longer queued. The time granted meanwhile stays granted.
    mutating func leaveQueue(at now: BootTime, maximumGrace: TimeSpan) {
        let end = end(at: now, maximumGrace: maximumGrace)
        graceUsed = graceUsed + (end - until)
        until = end
    }

    /// Renews the lease after a sign of life.
    mutating func prolong(until: BootTime) {
        self.until = until
        graceUsed = .zero
    }
}

extension BootTime {
    /// The first time after `now` in the series that begins at `self` and has a time every `interval`.
    func next(every interval: TimeSpan, after now: BootTime) -> BootTime {
        let passed = max(0, now.milliseconds - milliseconds) / interval.milliseconds
        return self + TimeSpan(milliseconds: (passed + 1) * interval.milliseconds)
    }
}
