import CMandosSystem
public import MandosFormats

/// The procedure that ends processes: SIGTERM, so that they can clean up, and SIGKILL if that takes too long.
public struct Teardown: Sendable {
    private let termination: Int64
    private let kill: Int64

    /// Sets how many milliseconds processes may take after each signal; after SIGKILL, a child is always waited for.
    public init(termination: Int64, kill: Int64 = 0) {
        self.termination = termination
        self.kill = kill
    }

    /// Ends processes: `signal` sends a signal; `hasEnded` waits for their end until a deadline.
    ///
    /// - Returns: whether the processes have ended.
    @discardableResult
    public func run(signal: (Int32) -> Void, hasEnded: (BootTime) -> Bool) -> Bool {
        signal(SIGTERM)
        if hasEnded(.now().after(milliseconds: termination)) { return true }
        signal(SIGKILL)
        return hasEnded(.now().after(milliseconds: kill))
    }
}
