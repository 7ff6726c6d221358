import MandosFormats
import TestSupport
import Testing

@testable import MandosCore

@Suite struct `The deadline queue` {
    @Test func `gives names in the order of their latest deadlines`() {
        var queue = DeadlineQueue()
        var random = SeededGenerator(seed: 3)
        var expected: [String: BootTime] = [:]
        for _ in 0..<5000 {
            let name = "client \(Int.random(in: 0..<100, using: &random))"
            let deadline =
                Int.random(in: 0..<5, using: &random) == 0 ? nil : at(Int64.random(in: 0...999, using: &random)).boot
            queue.set(deadline, for: name)
            expected[name] = deadline
        }
        #expect(queue.next() == expected.values.min())
        var last = at(0).boot
        var count = 0
        while let next = queue.next() {
            #expect(next >= last)
            #expect(queue.popDue(at: BootTime(milliseconds: next.milliseconds - 1)) == nil)
            guard let name = queue.popDue(at: next) else { break }
            #expect(expected[name] == next)
            (last, count) = (next, count + 1)
        }
        #expect(count == expected.count)
    }
}
