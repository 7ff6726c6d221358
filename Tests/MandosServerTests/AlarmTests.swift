import MandosFormats
import Testing

@testable import MandosServer

@Suite struct `An alarm` {
    @Test func `wakes who waits, and keeps a ring that nobody heard`() async {
        let alarm = WakeUp()
        alarm.ring()
        await alarm.wait(for: .minutes(60))
        async let waiting: Void = alarm.wait(for: .minutes(60))
        alarm.ring()
        await waiting
    }

    @Test(.timeLimit(.minutes(1)))
    func `survives that who waits is cancelled at the moment at which it rings`() async {
        let alarm = WakeUp()
        for _ in 0..<10_000 {
            let waiting = Task { await alarm.wait(for: .minutes(60)) }
            // Time to fall asleep, mostly.
            for _ in 0..<8 { await Task.yield() }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { waiting.cancel() }
                group.addTask { alarm.ring() }
            }
            await waiting.value
        }
    }
}
