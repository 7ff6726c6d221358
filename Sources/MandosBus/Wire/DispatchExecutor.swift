public import Dispatch

/// Runs an actor on its own dispatch queue, so that the actor may block on the disk or the bus.
public final class DispatchExecutor: SerialExecutor {
    /// The queue; event handlers that run on it are isolated to the actor.
    public let queue: DispatchQueue

    public init(label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { unsafe job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    public func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
