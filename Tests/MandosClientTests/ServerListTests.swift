import MandosFormats
import POSIXKit
import TestSupport
import Testing

@testable import MandosClient

private func second(_ number: Double) -> BootTime { BootTime(milliseconds: Int64(number * 1000)) }

private func address(_ last: UInt8, isIPv6: Bool = false) throws -> SocketAddress {
    let bytes = isIPv6 ? [UInt8](repeating: 0, count: 15) + [last] : [192, 0, 2, last]
    return try #require(SocketAddress(bytes: bytes, port: 1, interface: 0))
}

private func service(_ name: String, interface: UInt32 = 1) -> Discovery.Service {
    Discovery.Service(name: Array(name.utf8), interface: interface)
}

extension ServerList {
    fileprivate mutating func hears(
        _ service: Discovery.Service, at address: SocketAddress, isTrying: Bool = false, at now: BootTime = second(0)
    ) -> Int? {
        announced(service, at: address, interface: "eth0", isTrying: { _ in isTrying }, at: now)
    }
}

@Suite struct `The server list` {
    @Test func `has each address and port once on each link, under whatever name`() throws {
        var list = ServerList(retryInterval: 10_000)
        let first = list.hears(service("a"), at: try address(1))
        let again = list.hears(service("a"), at: try address(1))
        let underAnotherName = list.hears(service("b"), at: try address(1))
        let elsewhere = list.hears(service("a", interface: 2), at: try address(1))
        #expect(first == 0 && again == nil && underAnotherName == nil && elsewhere == 1)
        #expect(list[0]?.description == "\"a\" on eth0")
        #expect(list[7] == nil)
    }

    @Test func `keeps what a name stood for when somebody announces something else under it`() throws {
        var list = ServerList(retryInterval: 10_000)
        let right = try #require(list.hears(service("a"), at: try address(1)))
        let wrong = try #require(list.hears(service("a"), at: try address(2)))
        #expect(list.schedule.begin(at: second(0)) == [right, wrong])
        list.failed(right, at: second(1), lacksNetwork: false, jitter: 0)
        #expect(list.schedule.begin(at: second(10)) == [right])
    }

    @Test func `tries another address of a server that is being tried a second later, answer or not`() throws {
        var list = ServerList(retryInterval: 10_000)
        let id = try #require(list.hears(service("a"), at: try address(1)))
        _ = list.schedule.begin(at: second(0))
        let sibling = try #require(list.hears(service("a"), at: try address(2), isTrying: true, at: second(0.5)))
        let other = try #require(list.hears(service("b"), at: try address(3), isTrying: true, at: second(0.5)))
        #expect(list.schedule.begin(at: second(1.4)) == [other])
        #expect(list.schedule.begin(at: second(1.5)) == [sibling])
        #expect(list[id] != nil)
    }

    @Test func `forgets a server that is withdrawn, once it has been tried`() throws {
        var list = ServerList(retryInterval: 10_000)
        let tried = try #require(list.hears(service("a"), at: try address(1)))
        #expect(list.schedule.begin(at: second(0)) == [tried])
        let waiting = try #require(list.hears(service("a"), at: try address(2)))
        let other = try #require(list.hears(service("a"), at: try address(1, isIPv6: true)))
        #expect(list.withdrawn(Announcement(service: service("b"), isIPv6: false)).isEmpty)
        #expect(list.withdrawn(Announcement(service: service("a"), isIPv6: false)).map(\.id) == [tried])
        #expect(list[tried] == nil && list[waiting] != nil)
        #expect(list.schedule.begin(at: second(1)) == [waiting, other])
        list.failed(waiting, at: second(2), lacksNetwork: false, jitter: 0)
        list.failed(other, at: second(2), lacksNetwork: false, jitter: 0)
        #expect(list[waiting] == nil)
        #expect(list.schedule.begin(at: second(100)) == [other])
        #expect(list.hears(service("a"), at: try address(1)) == other + 1, "an ID is never used again")
    }

    @Test func `forgets those first that have been tried, then those of the peer that has most`() throws {
        var generator = SeededGenerator(seed: 12)
        let most = 40
        var list = ServerList(retryInterval: 10_000, maximumAnnounced: most) {
            Int.random(in: 0..<$0, using: &generator)
        }
        func flood(_ first: Int, _ count: Int, peer: UInt8) throws {
            for number in first..<first + count {
                let address = try #require(
                    SocketAddress(bytes: [192, 0, 2, peer], port: UInt16(number), interface: 0))
                _ = list.hears(service("fake \(number)"), at: address)
            }
        }
        try flood(1, most, peer: 66)
        _ = list.schedule.begin(at: second(0))
        let right = try #require(list.hears(service("a"), at: try address(1)))
        // All that were there before have to go first; after that, peer 66 has most.
        try flood(1000, 3 * most, peer: 66)
        try flood(1, most / 3, peer: 67)
        #expect(list[right] != nil)
        #expect(list.announcedCount == most)
        #expect(list.schedule.begin(at: second(0)).contains(right))
    }

    @Test func `takes each name from DNS once, and not without limit`() {
        var list = ServerList(retryInterval: 10_000)
        list.add(.domain("example.org"), at: second(0))
        list.add(.named(ServerName(host: "h1", port: 1)), at: second(0))
        let names = (0..<2000).map { ServerName(host: "h\($0 / 2)", port: 1) }
        list.addFromDNS(names, at: second(0))
        list.addFromDNS([ServerName(host: "one too many", port: 1)], at: second(0))
        #expect(list.schedule.begin(at: second(0)).count == 1 + ServerList.maximumNamed)
    }
}
