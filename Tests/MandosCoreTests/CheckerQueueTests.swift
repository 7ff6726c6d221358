import MandosFormats
import Testing

@testable import MandosCore

@Suite struct `The checker queue` {
    @Test func `starts clients in order, and no more than its limit at once`() {
        var queue = CheckerQueue(limit: 2)
        for name in ["a", "b", "c", "d"] { queue.enqueue(name) }
        #expect(queue.start(at: at(0).boot) { _ in true } == "a")
        #expect(queue.start(at: at(0).boot) { $0 != "b" } == "c")
        #expect(queue.start(at: at(0).boot) { _ in true } == nil)
        queue.ended("a")
        #expect(queue.start(at: at(0).boot) { _ in true } == "d")
        queue.ended("c")
        #expect(queue.start(at: at(0).boot) { _ in true } == nil, "nobody is left, and nobody comes twice")
    }

    @Test func `makes a client wait for its own last checker`() {
        var queue = CheckerQueue(limit: 3)
        queue.enqueue("a")
        #expect(queue.start(at: at(0).boot) { _ in true } == "a")
        queue.enqueue("a")
        queue.enqueue("b")
        #expect(queue.start(at: at(0).boot) { _ in true } == "b")
        #expect(queue.start(at: at(0).boot) { _ in true } == nil)
        queue.ended("a")
        #expect(queue.start(at: at(0).boot) { _ in true } == "a")
    }
}

@Suite struct `Checkers that hang` {
    @Test func `are named, longest first, as many as others wait`() {
        var queue = CheckerQueue(limit: 2)
        for name in ["a", "b", "c"] { queue.enqueue(name) }
        #expect(queue.start(at: at(0).boot) { _ in true } == "a")
        #expect(queue.start(at: at(10).boot) { _ in true } == "b")
        #expect(queue.overdue(at: at(60).boot) { _ in .minutes(1) } == [])
        #expect(queue.overdue(at: at(100).boot) { _ in .minutes(1) } == ["a"])
        queue.enqueue("d")
        #expect(queue.overdue(at: at(100).boot) { _ in .minutes(1) } == ["a", "b"])
        #expect(queue.overdue(at: at(100).boot) { $0 == "a" ? .minutes(9) : .minutes(1) } == ["b"])
    }
}
