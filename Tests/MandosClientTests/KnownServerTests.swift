import MandosFormats
import POSIXKit
import Testing

@testable import MandosClient

@Suite struct `A server that was announced` {
    private static func make(at bytes: [UInt8]) throws -> KnownServer {
        let service = Discovery.Service(name: Array("a\u{1B}[31mb".utf8), interface: 1)
        let address = try #require(SocketAddress(bytes: bytes, port: 1, interface: 1))
        return KnownServer(.announced(service, address), id: 0, interface: "lo")
    }

    private static let linkLocal: [UInt8] = [0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1]

    @Test func `has no name that a console obeys`() throws {
        #expect(try Self.make(at: Self.linkLocal).description == "\"a[31mb\" on lo")
    }

    @Test func `needs a route once, and never to a link-local address`() throws {
        var far = try Self.make(at: [192, 0, 2, 1])
        var near = try Self.make(at: Self.linkLocal)
        let answers = [far.needsRoute(), far.needsRoute(), near.needsRoute()]
        #expect(answers == [true, false, false])
    }

    @Test func `belongs to a host, or to a network in which anybody can have any number of addresses`() throws {
        func peer(_ bytes: [UInt8]) throws -> SocketAddress.Peer {
            try #require(SocketAddress(bytes: bytes, port: 1, interface: 1)).peer
        }
        let network: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 1]
        let hosts: [[UInt8]] = [[0, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 2]]
        #expect(try peer(network + hosts[0]) == peer(network + hosts[1]))
        #expect(try peer(network + hosts[0]) != peer([0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 2] + hosts[0]))
        let link: [UInt8] = [0xFE, 0x80, 0, 0, 0, 0, 0, 0]
        #expect(try peer(link + hosts[0]) != peer(link + hosts[1]))
        #expect(try peer([192, 0, 2, 1]) != peer([192, 0, 2, 2]))
    }
}
