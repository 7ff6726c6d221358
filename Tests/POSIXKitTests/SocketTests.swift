import Testing

@testable import POSIXKit

@Suite struct `A socket address` {
    private static let linkLocal: [UInt8] = [0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1]

    private func resolve(_ host: String) throws -> SocketAddress {
        try #require(try SocketAddress.resolve(host: host, port: 4711, isNumeric: true).get().first)
    }

    @Test(arguments: [("192.0.2.1", [192, 0, 2, 1]), ("::ffff", [UInt8](repeating: 0, count: 14) + [0xFF, 0xFF])])
    func `has the bytes and the port that were given`(host: String, bytes: [UInt8]) throws {
        let address = try resolve(host)
        #expect(address.bytes == bytes && address.port == 4711 && address.isIPv6 == (bytes.count == 16))
        let same = try #require(SocketAddress(bytes: bytes, port: 4711, interface: 0))
        #expect(same.bytes == bytes && same.port == 4711)
    }

    @Test func `has 4 bytes or 16`() { #expect(SocketAddress(bytes: [1, 2, 3], port: 1, interface: 0)?.port == nil) }

    @Test func `that is link-local needs an interface`() throws {
        #expect(try resolve("fe80::1").needsInterface)
        #expect(try resolve("fe80::1%1").isLinkLocal)
        #expect(try !resolve("fe80::1%1").needsInterface)
        #expect(try !resolve("2001:db8::1").needsInterface)
        #expect(SocketAddress(bytes: Self.linkLocal, port: 1, interface: 1)?.needsInterface == false)
        var address = try resolve("fe80::1")
        #expect(throws: SystemError.self) { try address.setInterface("no such one") }
    }

    @Test(
        arguments: [
            ("192.0.2.1", true), ("127.0.0.1", false), ("0.0.0.0", false), ("224.0.0.1", false),
            ("2001:db8::1", true), ("::1", false), ("::", false), ("ff02::1", false),
        ])
    func `is one that a host may have, or not`(host: String, isOrdinary: Bool) throws {
        #expect(try resolve(host).isOrdinary == isOrdinary)
    }

    @Test func `that is a name is not numeric`() {
        #expect(throws: ResolverError.self) { _ = try resolve("localhost") }
    }
}
