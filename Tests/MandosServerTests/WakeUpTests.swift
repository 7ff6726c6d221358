import MandosFormats
import Testing

@testable import MandosServer

@Suite struct `A wake-up` {
    @Test func `wakes a task that waits, and keeps a signal for a task that waits later`() async {
        let wakeUp = WakeUp()
        wakeUp.signal()
        await wakeUp.wait(for: .minutes(60))
        async let waiting: Void = wakeUp.wait(for: .minutes(60))
        wakeUp.signal()
        await waiting
    }

    @Test(.timeLimit(.minutes(5)))
    func `may be signalled at the moment at which the task that waits is cancelled`() async {
        let wakeUp = WakeUp()
        for _ in 0..<10_000 {
            let waiting = Task { await wakeUp.wait(for: .minutes(60)) }
            // Time to fall asleep, mostly.
            for _ in 0..<8 { await Task.yield() }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { waiting.cancel() }
                group.addTask { wakeUp.signal() }
            }
            await waiting.value
        }
    }
}
