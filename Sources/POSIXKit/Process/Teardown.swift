import CMandosSystem
public import MandosFormats

/// How processes are ended: by SIGTERM, so that they can clean up, and by SIGKILL if that takes too long.
public struct Teardown: Sendable {
    private let termination: Int64
    private let kill: Int64

    /// How long processes may take after each signal, in milliseconds; after SIGKILL, a child is waited for in any case.
    public init(termination: Int64, kill: Int64 = 0) {
        self.termination = termination
        self.kill = kill
    }

    /// `signal` sends a signal; `hasEnded` waits for the end until a deadline.
    ///
    /// - Returns: whether they have ended.
    @discardableResult
    public func run(signal: (Int32) -> Void, hasEnded: (BootTime) -> Bool) -> Bool {
        signal(SIGTERM)
        if hasEnded(.now().after(milliseconds: termination)) { return true }
        signal(SIGKILL)
        return hasEnded(.now().after(milliseconds: kill))
    }
}
