import MandosFormats
import Synchronization

/// Ends the wait of one task early. A signal that comes while nobody waits is kept for the next wait.
final class WakeUp: Sendable {
    private struct State {
        var isSignalled = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    // No continuation is resumed under the lock: resuming takes a lock of the task, which a cancellation holds while it
    // waits for ours.

    func signal() {
        let waiter = state.withLock { state in
            state.isSignalled = state.waiter == nil
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// Returns after `span`, at a signal, or when the task is cancelled, whichever comes first.
    func wait(for span: TimeSpan) async {
        guard span > .zero else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: .milliseconds(span.milliseconds)) }
            group.addTask { await self.waitForSignal() }
            await group.next()
            group.cancelAll()
        }
    }

    private func waitForSignal() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    // A cancellation after this finds the continuation.
                    let isOver = state.isSignalled || Task.isCancelled
                    if isOver { state.isSignalled = false } else { state.waiter = continuation }
                    return isOver
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiter.take() }?.resume()
        }
    }
}
