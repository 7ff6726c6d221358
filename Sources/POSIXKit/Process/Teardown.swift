import CMandosSystem
public import MandosFormats

/// How processes are ended: by SIGTERM, so that they can clean up, and by SIGKILL if that takes too long.
public struct Teardown: Sendable {
    /// How long they may take after each signal, in milliseconds.
    private let timeLimits: [Int64]

    /// `kill` is for processes that are not our children: after SIGKILL, a child is waited for anyway.
    public init(termination: Int64, kill: Int64 = 0) { timeLimits = [termination, kill] }

    /// `signal` sends a signal; `hasEnded` waits for the end until a deadline.
    ///
    /// - Returns: whether they have ended.
    @discardableResult
    public func run(signal: (Int32) -> Void, hasEnded: (BootTime) -> Bool) -> Bool {
        for (number, limit) in zip([SIGTERM, SIGKILL], timeLimits) {
            signal(number)
            if hasEnded(BootTime.now().after(milliseconds: limit)) { return true }
        }
        return false
    }
}
