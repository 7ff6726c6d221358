public import Dispatch

/// Runs one actor's work on a queue of its own, so that the actor may wait for the disk or the bus.
public final class DispatchExecutor: SerialExecutor {
    /// Where the actor's work is done: handlers of event sources on it are on the actor.
    public let queue: DispatchQueue

    public init(label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { unsafe job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    public func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
