import MandosFormats
import POSIXKit
import Testing

@testable import MandosClient

@Suite struct `A server that was announced` {
    private static func address(_ last: UInt8, port: UInt16 = 1) throws -> SocketAddress {
        let bytes: [UInt8] = [0xFE, 0x80] + Array(repeating: 0, count: 13) + [last]
        return try #require(SocketAddress(bytes: bytes, port: port, interface: 1))
    }

    private static func make() throws -> KnownServer {
        let service = Discovery.Service(name: Array("a\u{1B}[31mb".utf8), interface: 1)
        return KnownServer(.announced(service), id: 0, interface: "lo")
    }

    @Test func `is tried at one address after the other, and each one once`() throws {
        var server = try Self.make()
        _ = server.add(try Self.address(1))
        _ = server.add(try Self.address(2))
        _ = server.add(try Self.address(1))
        #expect(server.addresses.count == 2)
        server.beginRound()
        let now = BootTime(milliseconds: 5000)
        let first = server.nextAddress(at: now)
        #expect(first?.bytes.last == 1)
        #expect(server.nextAddressDue == BootTime(milliseconds: 6000))
        let second = server.nextAddress(at: now)
        #expect(second?.bytes.last == 2)
        #expect(server.nextAddressDue == nil)
        let third = server.nextAddress(at: now)
        #expect(third == nil)
        server.beginRound()
        _ = server.nextAddress(at: now)
        server.endRound()
        // What is heard of it now is not needed.
        server.alsoTry(try Self.address(3), at: now)
        let next = server.nextAddress(at: now)
        #expect(server.nextAddressDue == nil && next == nil)
    }

    @Test func `loses the addresses that are not announced any more`() throws {
        var server = try Self.make()
        _ = server.add(try Self.address(1))
        _ = server.add(
            try #require(SocketAddress(bytes: [192, 0, 2, 1], port: 1, interface: 0)))
        server.beginRound()
        server.removeAddresses(isIPv6: true)
        #expect(server.addresses.map(\.bytes) == [[192, 0, 2, 1]])
        #expect(server.untried.count == 1)
    }

    @Test func `can have no endless number of addresses, and no name that a console obeys`() throws {
        var server = try Self.make()
        for number in 1...100 { _ = server.add(try Self.address(UInt8(number))) }
        #expect(server.addresses.count == 16)
        #expect(server.description == "\"a[31mb\" on lo")
    }

    @Test func `needs a route once, and never to a link-local address`() throws {
        var server = try Self.make()
        let far = try #require(SocketAddress(bytes: [192, 0, 2, 1], port: 1, interface: 0))
        let answers = [
            server.needsRoute(to: far), server.needsRoute(to: far), server.needsRoute(to: try Self.address(1)),
        ]
        #expect(answers == [true, false, false])
    }
}
