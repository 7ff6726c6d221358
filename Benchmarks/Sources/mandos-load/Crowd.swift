import POSIXKit
import MandosTLS

/// Many visitors, so many of them at once, in one loop.
struct Crowd {
    /// How many come, and at most how many are there at a time.
    let count: Int
    let atOnce: Int
    /// How long all of it may take.
    let limit: Duration

    /// What came of them.
    struct Outcome {
        /// From the start of its connection to its end, of each that ended as it should.
        var times: [Duration] = []
        /// How many failed for each reason.
        var failures: [String: Int] = [:]
        var total = Duration.zero

        mutating func fail(_ reason: String, _ count: Int = 1) {
            if count > 0 { failures[reason, default: 0] += count }
        }
    }

    /// How long the loop sleeps at most before it looks at the clock.
    private static let longestWait = Duration.seconds(1)

    /// Runs to the end; `allHold` is called once everybody has come and waits for the server to end it.
    func run(allHold: () -> Void = {}, arrival: () throws -> Visitor) throws -> Outcome {
        let start = ContinuousClock.now
        var outcome = Outcome()
        var queue = try ReadinessQueue()
        var present: [Int32: Visitor] = [:]
        var begun = 0
        var holding = 0
        var buffer = [UInt8](repeating: 0, count: TLSSession.largestRecord)

        while begun < count || !present.isEmpty, start.duration(to: .now) < limit {
            while begun < count, present.count < atOnce {
                begun += 1
                do {
                    let visitor = try arrival()
                    try queue.add(visitor.descriptor)
                    present[visitor.descriptor] = visitor
                } catch {
                    outcome.fail("\(error)")
                }
            }
            for descriptor in queue.wait(atMost: Self.longestWait) {
                guard let visitor = present[descriptor] else { continue }
                do {
                    switch try visitor.advance(with: &buffer) {
                    case .underWay: continue
                    case .holding:
                        holding += 1
                        if holding == count { allHold() }
                        continue
                    case .done: outcome.times.append(visitor.began.duration(to: .now))
                    }
                } catch {
                    outcome.fail("\(error)")
                }
                present[descriptor] = nil
            }
        }
        outcome.fail("not finished in time", present.count + count - begun)
        outcome.total = start.duration(to: .now)
        outcome.times.sort()
        return outcome
    }
}
