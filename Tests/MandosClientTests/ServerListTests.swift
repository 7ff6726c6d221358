import MandosFormats
import POSIXKit
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
    @Test func `has each announced server once on each link`() throws {
        var list = ServerList(retryInterval: 10_000)
        let first = list.hears(service("a"), at: try address(1))
        let again = list.hears(service("a"), at: try address(2))
        let elsewhere = list.hears(service("a", interface: 2), at: try address(1))
        #expect(first == 0 && again == nil && elsewhere == 1)
        #expect(list[0]?.addresses.count == 2)
        #expect(list[0]?.description == "\"a\" on eth0")
        #expect(list[7] == nil)
    }

    @Test func `makes a server due at once that has a new address`() throws {
        var list = ServerList(retryInterval: 10_000)
        let id = try #require(list.hears(service("a"), at: try address(1)))
        #expect(list.schedule.begin(at: second(0)) == [id])
        list.schedule.failed(id, at: second(1))
        _ = list.hears(service("a"), at: try address(1), at: second(2))
        #expect(list.schedule.begin(at: second(2)) == [], "the address is known")
        _ = list.hears(service("a"), at: try address(2), at: second(3))
        #expect(list.schedule.begin(at: second(3)) == [id])
    }

    @Test func `adds a new address to a round that is under way`() throws {
        var list = ServerList(retryInterval: 10_000)
        let id = try #require(list.hears(service("a"), at: try address(1)))
        _ = list.schedule.begin(at: second(0))
        list[id]?.beginRound()
        _ = list[id]?.nextAddress(at: second(0))
        _ = list.hears(service("a"), at: try address(2), isTrying: true, at: second(0.5))
        #expect(list.nextAddressDue { _ in true } == second(1.5))
        #expect(list.nextAddressDue { _ in false } == nil)
        #expect(list.nextAddressDue(at: second(1.4)) == [])
        #expect(list.nextAddressDue(at: second(1.5)) == [id])
    }

    @Test func `forgets a server with the last of its addresses`() throws {
        var list = ServerList(retryInterval: 10_000)
        let id = try #require(list.hears(service("a"), at: try address(1)))
        _ = list.hears(service("a"), at: try address(1, isIPv6: true))
        #expect(list.withdrawn(service("b"), isIPv6: true) == nil)
        #expect(list.withdrawn(service("a"), isIPv6: true) == nil)
        #expect(list[id] != nil)
        #expect(list.withdrawn(service("a"), isIPv6: false)?.id == id)
        #expect(list[id] == nil)
        #expect(list.schedule.begin(at: second(100)) == [])
        #expect(list.hears(service("a"), at: try address(1)) == id + 1, "an ID is never used again")
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
