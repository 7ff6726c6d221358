public import CMandosSystem
public import MandosFormats

/// The descendants of this process whose parents have ended.
public enum Orphans {
    /// Makes them our children, and not those of process 1. Source: PR_SET_CHILD_SUBREAPER(2const).
    public static func adopt() { cmandos_adopt_orphans() }

    /// How long they may take to end, in milliseconds: the kernel may be waiting for a disk.
    private static let timeLimit: Int64 = 2000
    // In microseconds.
    private static let pause: UInt32 = 2000

    /// Kills all our children except `others`, and their children, which become ours; waits for their end. Without /proc, they
    /// are not found.
    public static func end(except others: [pid_t]) {
        let deadline = BootTime.now().after(milliseconds: timeLimit)
        while BootTime.now() < deadline {
            let orphans = OwnProcess.children.filter { !others.contains($0) }
            if orphans.isEmpty { return }
            for orphan in orphans {
                kill(orphan, SIGKILL)
                _ = waitpid(orphan, nil, WNOHANG)
            }
            _ = usleep(pause)
        }
    }
}

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
