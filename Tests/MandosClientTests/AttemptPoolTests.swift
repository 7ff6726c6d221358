import MandosFormats
import POSIXKit
import Testing

@testable import MandosClient

private func second(_ number: Int64) -> BootTime { BootTime(milliseconds: number * 1000) }

/// Work whose results are given in advance; it is under way after them.
private final class FakeWork: AttemptWork {
    var results: [AttemptResult]
    var size = 0
    let isDecryption: Bool
    var protectedTime: Int64?
    private(set) var turns = 0

    init(_ results: [AttemptResult] = [], size: Int = 0, isDecryption: Bool = false, protectedTime: Int64? = 1000) {
        self.results = results
        self.size = size
        self.isDecryption = isDecryption
        self.protectedTime = protectedTime
    }

    func protectedUntil(since begun: BootTime) -> BootTime? { protectedTime.map { begun.after(milliseconds: $0) } }

    func register(in set: inout PollSet) {}

    func advance(at now: BootTime) -> AttemptResult {
        turns += 1
        return results.isEmpty ? .underWay : results.removeFirst()
    }
}

extension AttemptPool<FakeWork> {
    /// One whole turn.
    fileprivate mutating func turn() -> [(server: Int, result: AttemptResult)] {
        var results: [(server: Int, result: AttemptResult)] = []
        beginTurn()
        while let result = advance(at: second(0)) { results.append(result) }
        return results
    }
}

private var failure: AttemptResult { .failed(problem: "refused", lacksNetwork: false) }

@Suite struct `The attempt pool` {
    @Test func `lets each attempt go on once in a turn`() {
        var pool = AttemptPool<FakeWork>()
        let works = (0..<3).map { _ in FakeWork() }
        for (server, work) in works.enumerated() { pool.add(work, for: server, at: second(0)) }
        #expect(pool.turn().isEmpty)
        #expect(pool.turn().isEmpty)
        #expect(works.map(\.turns) == [2, 2, 2])
    }

    @Test func `keeps an attempt until its last result`() {
        var pool = AttemptPool<FakeWork>()
        pool.add(FakeWork([.underWay, .underWay, failure]), for: 7, at: second(0))
        #expect(pool.turn().isEmpty)
        #expect(pool.turn().isEmpty)
        #expect(pool.isTrying(7))
        let failed = pool.turn()
        #expect(failed.map(\.server) == [7] && !pool.isTrying(7))
    }

    @Test func `still knows the other attempts when one has ended`() {
        var pool = AttemptPool<FakeWork>()
        pool.add(FakeWork([failure]), for: 1, at: second(0))
        pool.add(FakeWork([failure]), for: 1, at: second(0))
        pool.beginTurn()
        _ = pool.advance(at: second(0))
        #expect(pool.isTrying(1))
        _ = pool.advance(at: second(0))
        #expect(!pool.isTrying(1))
    }

    @Test func `lets an attempt that is added during a turn go on in the same turn`() {
        var pool = AttemptPool<FakeWork>()
        pool.add(FakeWork([.received(message: [1])]), for: 1, at: second(0))
        pool.beginTurn()
        _ = pool.advance(at: second(0))
        let decryption = FakeWork(isDecryption: true)
        pool.add(decryption, for: 1, at: second(0))
        #expect(pool.advance(at: second(0)) == nil)
        #expect(decryption.turns == 1)
    }

    @Test func `decrypts only some messages at the same time, in the order of their arrival`() {
        var pool = AttemptPool<FakeWork>(limits: AttemptLimits(decryptions: 2))
        let works = [FakeWork(isDecryption: true), FakeWork([.underWay, failure], isDecryption: true)]
        let waiting = FakeWork(isDecryption: true)
        for (server, work) in (works + [waiting]).enumerated() { pool.add(work, for: server, at: second(0)) }
        let conversation = FakeWork()
        pool.add(conversation, for: 3, at: second(0))
        _ = pool.turn()
        #expect(waiting.turns == 0 && conversation.turns == 1)
        _ = pool.turn()
        #expect(waiting.turns == 1, "the place of the one that failed is free")
    }

    @Test func `makes room by giving up the attempt whose protection ended first`() {
        var pool = AttemptPool<FakeWork>(limits: AttemptLimits(attempts: 3))
        pool.add(FakeWork(protectedTime: nil), for: 0, at: second(0))
        pool.add(FakeWork(protectedTime: 60_000), for: 1, at: second(0))
        #expect(pool.room(at: second(0)) == 1)
        #expect(pool.makeRoom(at: second(9)) == nil, "there is room")
        pool.add(FakeWork(), for: 2, at: second(0))
        #expect(pool.room(at: second(0)) == 0)
        #expect(pool.makeRoom(at: second(0)) == nil)
        #expect(pool.room(at: second(1)) == 1)
        #expect(pool.makeRoom(at: second(1)) == 2)
        pool.add(FakeWork(protectedTime: nil), for: 3, at: second(1))
        #expect(pool.makeRoom(at: second(60)) == 1)
    }

    @Test func `tells when there is room again`() {
        var pool = AttemptPool<FakeWork>(limits: AttemptLimits(attempts: 2))
        pool.add(FakeWork(protectedTime: nil), for: 0, at: second(0))
        #expect(pool.nextRoom(from: second(5)) == second(5))
        pool.add(FakeWork(protectedTime: 9000), for: 1, at: second(0))
        #expect(pool.nextRoom(from: second(5)) == second(9))
        #expect(pool.nextRoom(from: second(10)) == second(10))
        #expect(pool.makeRoom(at: second(9)) == 1)
        pool.add(FakeWork(protectedTime: nil), for: 2, at: second(0))
        #expect(pool.nextRoom(from: second(5)) == nil)
    }

    @Test func `gives up the largest attempt while all hold too much`() {
        var pool = AttemptPool<FakeWork>(limits: AttemptLimits(receivedBytes: 10))
        for (server, size) in [3, 6, 5].enumerated() { pool.add(FakeWork(size: size), for: server, at: second(0)) }
        #expect(pool.boundMemory() == 1)
        #expect(pool.boundMemory() == nil)
    }

    @Test func `gives up an attempt of the peer that has most, and nobody who is protected`() {
        var pool = AttemptPool<FakeWork>(limits: AttemptLimits(attempts: 6))
        pool.add(FakeWork(), for: 0, peer: 1, at: second(0))
        for server in 1...3 { pool.add(FakeWork(), for: server, peer: 2, at: second(1)) }
        let answering = FakeWork(protectedTime: 9000)
        for server in 4...5 { pool.add(answering, for: server, peer: 3, at: second(0)) }
        #expect(pool.makeRoom(at: second(1)) == 0, "it alone is not protected any more")
        pool.add(FakeWork(), for: 6, peer: 1, at: second(1))
        #expect(pool.makeRoom(at: second(2)) == 1)
        pool.add(answering, for: 7, peer: 3, at: second(2))
        // Each peer has two or three now, and that of three is protected.
        #expect(pool.makeRoom(at: second(2)) == 2)
        pool.add(answering, for: 8, peer: 4, at: second(2))
        #expect(pool.makeRoom(at: second(2)) == 3)
    }
}
