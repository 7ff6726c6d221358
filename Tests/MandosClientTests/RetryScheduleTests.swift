import MandosFormats
import POSIXKit
import TestSupport
import Testing

@testable import MandosClient

private func second(_ number: Double) -> BootTime { BootTime(milliseconds: Int64(number * 1000)) }

@Suite struct `The retry schedule` {
    @Test func `tries all servers at once, each one once at a time`() {
        var schedule = RetrySchedule(interval: 10_000)
        #expect(schedule.add(at: second(0)) == 0)
        #expect(schedule.add(at: second(0)) == 1)
        #expect(schedule.begin(at: second(0)) == [0, 1])
        #expect(schedule.begin(at: second(100)) == [])
        #expect(schedule.nextDue == nil)
        #expect(!schedule.isExhausted)
    }

    @Test func `tries again one interval after the last try began`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(1))
        #expect(schedule.nextDue == second(10))
        #expect(schedule.begin(at: second(9)) == [])
        #expect(schedule.begin(at: second(10)) == [0])
    }

    @Test func `tries again at once when the last try took longer than an interval`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(15))
        #expect(schedule.begin(at: second(15)) == [0])
    }

    @Test func `never turns into a busy loop`() {
        var schedule = RetrySchedule(interval: 0)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(0))
        #expect(schedule.nextDue == second(0.1))
    }

    @Test func `is never delayed by another server`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.add(at: second(5))
        #expect(schedule.begin(at: second(0)) == [0])
        #expect(schedule.nextDue == second(5))
        #expect(schedule.begin(at: second(5)) == [1])
        schedule.failed(1, at: second(6))
        #expect(schedule.begin(at: second(15)) == [1])
    }

    @Test func `tries what lacked the network again as soon as that changes`() {
        var schedule = RetrySchedule(interval: 10_000)
        let lacking = schedule.add(at: second(0))
        let refused = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(lacking, at: second(1), lacksNetwork: true)
        schedule.failed(refused, at: second(1))
        #expect(schedule.begin(at: second(2)) == [])
        schedule.networkHasChanged(at: second(3))
        #expect(schedule.begin(at: second(3)) == [lacking])
        #expect(schedule.begin(at: second(10)) == [refused])
    }

    @Test func `forgets a server, and never confuses it with a later one`() {
        var schedule = RetrySchedule(interval: 10_000)
        let first = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.remove(first)
        let later = schedule.add(at: second(0))
        schedule.failed(first, at: second(1))
        #expect(schedule.begin(at: second(1)) == [later])
        #expect(schedule.nextDue == nil)
    }

    @Test func `with room for few takes new servers first, then those that have been due longest`() {
        var schedule = RetrySchedule(interval: 10_000)
        let old = (0..<3).map { schedule.add(at: second(Double(3 - $0))) }
        for server in old.reversed() { _ = schedule.begin(at: second(Double(3 - server))) }
        for server in old { schedule.failed(server, at: second(Double(5 - server))) }
        let announced = schedule.add(at: second(19), peer: 1)
        let named = schedule.add(at: second(20))
        #expect(schedule.begin(at: second(20), atMost: 0) == [])
        #expect(schedule.begin(at: second(20), atMost: 1) == [named])
        #expect(schedule.begin(at: second(20), atMost: 2) == [announced, old[2]])
        #expect(schedule.begin(at: second(20), atMost: 2) == [old[0], old[1]], "there is room for all")
        #expect([named, announced, old[0]].map(schedule.isNew) == [false, false, false])
    }

    @Test func `draws new servers by lot, peer by peer`() {
        var generator = SeededGenerator(seed: 12)
        var schedule = RetrySchedule(interval: 10_000) { Int.random(in: 0..<$0, using: &generator) }
        let fakes = (0..<300).map { _ in schedule.add(at: second(0), peer: 66) }
        let right = schedule.add(at: second(1), peer: 1)
        let others = (0..<300).map { _ in schedule.add(at: second(0), peer: 66) }
        var drawn: [Int] = []
        while !drawn.contains(right) { drawn += schedule.begin(at: second(1), atMost: 2) }
        #expect(drawn.count <= 20, "each second one is of peer 1")
        let rest = schedule.begin(at: second(1), atMost: 500)
        #expect(Set(drawn + rest).count == drawn.count + 500)
        #expect(rest != rest.sorted() && Set(rest).isSubset(of: fakes + others))
    }

    @Test func `spreads the tries of many machines`() {
        var schedule = RetrySchedule(interval: 10_000)
        let server = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(server, at: second(1), jitter: 700)
        #expect(schedule.nextDue == second(10.7))
    }

    @Test func `without an interval ends when each server has failed once`() {
        var schedule = RetrySchedule(interval: nil)
        _ = schedule.add(at: second(0))
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(1))
        #expect(!schedule.isExhausted)
        schedule.failed(1, at: second(1))
        #expect(schedule.isExhausted)
        #expect(schedule.begin(at: second(100)) == [])
    }
}
