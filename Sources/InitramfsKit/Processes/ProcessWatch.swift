import CMandosSystem

/// A process of somebody else's, to be told when it ends. Source: pidfd_open(2), kill(2).
public final class ProcessWatch {
    private let processID: Int32
    /// Nil where the kernel does not give one; then ``hasEnded`` still knows. Never changed; the compiler lends only variables.
    private var watch: FileDescriptor?

    /// - Returns: nil if there is no such process.
    public init?(_ processID: Int32) {
        let number = processID > 0 ? cmandos_pidfd_open(processID) : -1
        if processID <= 0 || (number < 0 && cmandos_errno() == ESRCH) { return nil }
        self.processID = processID
        watch = number < 0 ? nil : FileDescriptor(owning: number)
        if hasEnded { return nil }
    }

    public var hasEnded: Bool {
        if let number = watch?.number { return isReadable(number) }
        return kill(processID, 0) < 0 && cmandos_errno() == ESRCH
    }

    /// Waits also for its end.
    public func register(in set: inout PollSet) {
        if let number = watch?.number { set.add(number) }
    }
}
