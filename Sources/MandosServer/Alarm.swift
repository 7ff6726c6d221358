import MandosFormats
import Synchronization

/// Wakes the one task that waits: after a while, or as soon as somebody rings. A ring that nobody hears is kept.
final class Alarm: Sendable {
    private struct State {
        var hasRung = false
        var sleeper: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func ring() {
        state.withLock { state in
            state.hasRung = state.sleeper == nil
            state.sleeper?.resume()
            state.sleeper = nil
        }
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
                state.withLock { state in
                    // A cancellation after this finds the continuation.
                    if state.hasRung || Task.isCancelled {
                        state.hasRung = false
                        continuation.resume()
                    } else {
                        state.sleeper = continuation
                    }
                }
            }
        } onCancel: {
            state.withLock { state in
                state.sleeper?.resume()
                state.sleeper = nil
            }
        }
    }
}
