import MandosFormats
import Synchronization

/// Wakes the one task that waits: after a while, or as soon as somebody rings. A ring that nobody hears is kept.
final class WakeUp: Sendable {
    private struct State {
        var hasRung = false
        var sleeper: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    // Nobody is woken under the lock: that takes a lock of the task's, which a cancellation holds when it comes for ours.

    func ring() {
        let sleeper = state.withLock { state in
            state.hasRung = state.sleeper == nil
            return state.sleeper.take()
        }
        sleeper?.resume()
    }

    /// Returns after `span`, at a ring, or when the task is cancelled, whichever comes first.
    func wait(for span: TimeSpan) async {
        guard span > .zero else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: .milliseconds(span.milliseconds)) }
            group.addTask { await self.waitForRing() }
            await group.next()
            group.cancelAll()
        }
    }

    private func waitForRing() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    // A cancellation after this finds the continuation.
                    let isOver = state.hasRung || Task.isCancelled
                    if isOver { state.hasRung = false } else { state.sleeper = continuation }
                    return isOver
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleeper.take() }?.resume()
        }
    }
}
