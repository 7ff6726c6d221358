import MandosFormats
import Testing

@testable import MandosServer

@Suite struct `An alarm` {
    @Test func `wakes who waits, and keeps a ring that nobody heard`() async {
        let wakeUp = WakeUp()
        wakeUp.signal()
        await wakeUp.wait(for: .minutes(60))
        async let waiting: Void = wakeUp.wait(for: .minutes(60))
        wakeUp.signal()
        await waiting
    }

    @Test(.timeLimit(.minutes(1)))
    func `survives that who waits is cancelled at the moment at which it rings`() async {
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
