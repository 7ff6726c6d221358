import Glibc
import MandosFormats
import POSIXKit
import TestSupport
import Testing

@testable import MandosClient

private let mandos = Discovery.Service(name: Array("Mandos".utf8), interface: 2)
private let address: [UInt8] = [0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1]

private func time(_ milliseconds: Int64) -> BootTime { BootTime(milliseconds: milliseconds) }

private func found(_ name: String, on interface: UInt32 = 2) -> DiscoveryMessage {
    .found(Discovery.Service(name: Array(name.utf8), interface: interface), address: address, port: 4711)
}

@Suite struct `A message from the process that looks for servers` {
    @Test(
        arguments: [
            .found(mandos, address: address, port: 4711), .found(mandos, address: [192, 0, 2, 1], port: 65535),
            .removed(Announcement(service: mandos, isIPv6: true)),
            .failed(code: -24),
            .found(
                Discovery.Service(name: [UInt8](repeating: 0xFF, count: 63), interface: .max), address: address, port: 1
            ),
        ] as [DiscoveryMessage])
    func `is what was sent`(message: DiscoveryMessage) {
        #expect(message.bytes.count == DiscoveryMessage.length)
        #expect(DiscoveryMessage(message.bytes[...]) == message)
    }

    @Test(
        arguments: [
            [127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 251], [255, 255, 255, 255], [UInt8](repeating: 0, count: 16),
            [UInt8](repeating: 0, count: 15) + [1], [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 127, 0, 0, 1],
            [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 1],
            [0xFF, 2] + [UInt8](repeating: 0, count: 14),
        ] as [[UInt8]])
    func `has no address at which no server can be`(address: [UInt8]) {
        #expect(DiscoveryMessage(DiscoveryMessage.found(mandos, address: address, port: 4711).bytes[...]) == nil)
    }

    @Test func `is not just any bytes`() {
        let message = found("Mandos").bytes
        #expect(DiscoveryMessage(message.dropLast()) == nil)
        #expect(DiscoveryMessage((message + [0])[...]) == nil)
        #expect(DiscoveryMessage([]) == nil)
        for (position, value) in [(0, 0), (0, 4), (1, 64), (1, 255), (2, 0), (2, 15), (2, 255)] as [(Int, UInt8)] {
            var changed = message
            changed[position] = value
            #expect(DiscoveryMessage(changed[...]) == nil, "\(value) at \(position)")
        }
        #expect(DiscoveryMessage(DiscoveryMessage.found(mandos, address: address, port: 0).bytes[...]) == nil)
        var generator = SeededGenerator(seed: 12)
        for _ in 0..<10_000 {
            let bytes = (0..<DiscoveryMessage.length).map { _ in UInt8.random(in: 0...255, using: &generator) }
            _ = DiscoveryMessage(bytes[...])
        }
    }
}

@Suite struct `What the process that looks for servers tells` {
    /// The names that are found, and those that are given up, of what `messages` cause.
    private func events(
        _ servers: inout DiscoveredServers, _ messages: [DiscoveryMessage], to socket: borrowing FileDescriptor,
        at now: BootTime, isOurs: (UInt32) -> Bool = { _ in true }
    ) throws -> (found: [String], gone: [String]) {
        for message in messages { try socket.write(message.bytes) }
        var names: (found: [String], gone: [String]) = ([], [])
        for event in servers.takeEvents(isOurs: isOurs, at: now) {
            switch event {
            case .found(let service, _): names.found.append(String(decoding: service.name, as: UTF8.self))
            case .removed(let gone):
                names.gone.append(String(decoding: gone.service.name, as: UTF8.self))
            case .failed: break
            }
        }
        return names
    }

    @Test func `is believed of our own interfaces only`() throws {
        let pair = try SocketPair()
        let other = FileDescriptor(owning: dup(pair.second.number))
        var servers = try DiscoveredServers(pair.keepFirst(), at: time(0))
        let names = try events(&servers, [found("a", on: 2), found("b", on: 3)], to: other, at: time(0)) { $0 == 2 }
        #expect(names.found == ["a"])
    }

    @Test func `is read at a limited rate`() throws {
        let pair = try SocketPair()
        let other = FileDescriptor(owning: dup(pair.second.number))
        var servers = try DiscoveredServers(pair.keepFirst(), at: time(0))
        let flood = (0..<100).map { found("Fake \($0)") }
        #expect(try events(&servers, flood, to: other, at: time(0)).found.count == 64)
        #expect(try events(&servers, [], to: other, at: time(1)).found.isEmpty)
        #expect(try events(&servers, [], to: other, at: time(50)).found.count == 36)
        // Neither an empty message nor one that is too long ends anything.
        try other.write([])
        try other.write([UInt8](repeating: 2, count: 1000))
        #expect(try events(&servers, [found("a")], to: other, at: time(200)).found == ["a"])
    }

    @Test func `includes the end of an announcement`() throws {
        let pair = try SocketPair()
        let other = FileDescriptor(owning: dup(pair.second.number))
        var servers = try DiscoveredServers(pair.keepFirst(), at: time(0))
        let end = DiscoveryMessage.removed(Announcement(service: mandos, isIPv6: true))
        #expect(try events(&servers, [found("Mandos"), end], to: other, at: time(0)).gone == ["Mandos"])
    }
}
