import MandosFormats
import POSIXKit
import TestSupport
import Testing

@testable import MandosClient

private func second(_ number: Int64) -> BootTime { BootTime(milliseconds: number * 1000) }

private func announcement(_ name: String, on interface: UInt32 = 1, isIPv6: Bool = true) -> Announcement {
    Announcement(service: Discovery.Service(name: Array(name.utf8), interface: interface), isIPv6: isIPv6)
}

extension Announcements {
    fileprivate init(_ limits: Limits, seed: UInt64 = 1) {
        var generator = SeededGenerator(seed: seed)
        self.init(limits: limits, at: second(0)) { Int.random(in: 0..<$0, using: &generator) }
    }

    fileprivate func entry(_ announcement: Announcement) -> Entry? { entries.first { $0.announcement == announcement } }
    fileprivate func has(_ announcement: Announcement) -> Bool { entry(announcement) != nil }
    fileprivate var servers: [Announcement] { entries.filter(\.isServer).map(\.announcement) }

    /// A server appears whose address is known at once.
    fileprivate mutating func serverAppears(_ server: Announcement) throws {
        announced(server)
        resolved(try #require(entry(server)?.id))
    }

    fileprivate mutating func flood(_ count: Int, on interface: UInt32 = 1) {
        for number in 0..<count { announced(announcement("Fake \(number)", on: interface)) }
    }
}

@Suite struct `The announcements looked at` {
    private let small = Announcements.Limits(unresolved: 4, servers: 4)

    @Test func `are of each server once for each link and kind of address`() {
        var announcements = Announcements(small)
        let different = [
            announcement("a"), announcement("b"), announcement("a", on: 2), announcement("a", isIPv6: false),
        ]
        for announcement in different + different { announcements.announced(announcement) }
        #expect(announcements.entries.map(\.announcement) == different)
        #expect(announcements.entries.map(\.id) == [0, 1, 2, 3])
        let wasServer = announcements.withdrawn(announcement("b"))
        #expect(!wasServer)
        #expect(!announcements.has(announcement("b")))
    }

    @Test func `keep a server whatever does not resolve`() throws {
        var announcements = Announcements(small)
        try announcements.serverAppears(announcement("Mandos"))
        announcements.flood(1000)
        #expect(announcements.has(announcement("Mandos")))
        #expect(announcements.entries.count == 1 + 4)
    }

    @Test func `take from the interface that has most`() throws {
        var announcements = Announcements(small)
        announcements.announced(announcement("Slow", on: 2))
        try announcements.serverAppears(announcement("Mandos", on: 2))
        announcements.flood(100)
        for number in 0..<100 { try announcements.serverAppears(announcement("Bogus \(number)")) }
        #expect(announcements.has(announcement("Slow", on: 2)) && announcements.has(announcement("Mandos", on: 2)))
        #expect(announcements.has(announcement("Bogus 99")), "the newest is looked at")
        #expect(announcements.servers.count == 4)
    }

    @Test func `include one that was pushed out when browsing starts over`() throws {
        var announcements = Announcements(small)
        try announcements.serverAppears(announcement("Mandos"))
        announcements.announced(announcement("Late"))
        #expect(announcements.startOverDue == nil)
        announcements.flood(200)
        #expect(!announcements.has(announcement("Late")))
        #expect(announcements.startOverDue == second(10))
        let gone = announcements.startOver(at: second(11))
        #expect(gone == [])
        #expect(announcements.entries.map(\.isSeen) == [false], "the server stays known")
        #expect(announcements.startOverDue == second(21), "it may not be announced any more")
        announcements.announced(announcement("Mandos"))
        #expect(announcements.startOverDue == nil)
        try announcements.serverAppears(announcement("Late"))
        #expect(announcements.servers == [announcement("Mandos"), announcement("Late")])
    }

    @Test func `start over early in a flood, which fills the cache, and when more is told than can be kept`() throws {
        var announcements = Announcements(small)
        for _ in 0..<200 { announcements.receivedPacket() }
        #expect(announcements.startOverDue == nil)
        announcements.receivedPacket()
        #expect(announcements.startOverDue == second(2))
        _ = announcements.startOver(at: second(2))
        #expect(announcements.startOverDue == nil)
        try announcements.serverAppears(announcement("Mandos"))
        let id = try #require(announcements.entry(announcement("Mandos"))?.id)
        for _ in 0..<3 { announcements.resolved(id) }
        #expect(announcements.startOverDue == nil)
        announcements.resolved(id)
        #expect(announcements.startOverDue == second(12))
        _ = announcements.startOver(at: second(12))
        announcements.announced(announcement("Mandos"))
        #expect(announcements.startOverDue == nil)
        announcements.hasTooManyRecords()
        #expect(announcements.startOverDue == second(22))
    }

    @Test func `lose a server that is not announced for half a minute, however often browsing starts over`() throws {
        var announcements = Announcements(small)
        try announcements.serverAppears(announcement("Gone"))
        try announcements.serverAppears(announcement("Lossy"))
        for now in stride(from: 10, through: 38, by: 2) as StrideThrough<Int64> {
            let gone = announcements.startOver(at: second(now))
            #expect(gone == [])
            if now == 20 { announcements.announced(announcement("Lossy")) }
        }
        let gone = announcements.startOver(at: second(40))
        #expect(gone == [announcement("Gone")])
        #expect(announcements.servers == [announcement("Lossy")])
        let wasServer = announcements.withdrawn(announcement("Lossy"))
        #expect(wasServer)
    }

    @Test(arguments: UInt64(0)..<10) func `stay within the limits in any history`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var announcements = Announcements(Announcements.Limits(unresolved: 5, servers: 8), seed: seed)
        var known: [Announcement] = []
        for step in 0..<200 {
            let some = announcement(
                "\(Int.random(in: 0..<20, using: &generator))", on: UInt32.random(in: 1...2, using: &generator))
            let entry = announcements.entries.randomElement(using: &generator)
            switch (Int.random(in: 0..<20, using: &generator), entry) {
            case (0, _): if announcements.withdrawn(some) { known.removeAll { $0 == some } }
            case (1, _):
                let gone = announcements.startOver(at: second(Int64(step)))
                known.removeAll { gone.contains($0) }
            case (2...8, let entry?):
                announcements.resolved(entry.id)
                if !entry.isServer { known.append(entry.announcement) }
                let servers = announcements.servers
                guard let loser = known.first(where: { !servers.contains($0) }) else { break }
                known.removeAll { $0 == loser }
                let interface = loser.service.interface
                #expect(known.count { $0.service.interface == interface } >= 4, "half of them is its share")
            default:
                announcements.announced(some)
                #expect(announcements.has(some), "the newest is looked at")
            }
            #expect(announcements.servers.count <= 8 && announcements.entries.count <= 8 + 5)
            let ids = announcements.entries.map(\.id)
            #expect(ids == Set(ids).sorted(), "they are in the order of their IDs")
            #expect(Set(known.map { "\($0)" }) == Set(announcements.servers.map { "\($0)" }))
        }
    }
}
