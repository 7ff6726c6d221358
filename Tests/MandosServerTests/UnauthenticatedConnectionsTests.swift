import NIOCore
import Testing

@testable import MandosServer

@Suite struct `The source that a peer counts as` {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "20010db800010002/64"),
        ("2001:db8:1:2::1", "20010db800010002/64"), ("2001:db8:1:3::1", "20010db800010003/64"),
        ("::1", "0000000000000000/64"),
        ("fe80::1:2", "fe80000000000000/64"),
    ])
    func `is its IPv4 address, or its IPv6 network`(address: String, source: String) throws {
        let address = try SocketAddress(ipAddress: address, port: 1)
        #expect(PeerAddress.source(of: address) == source)
    }
}

@Suite struct `Connections without a handshake` {
    private typealias Connections = UnauthenticatedConnections<Int>

    @Test func `at the total limit lose the oldest`() {
        var connections = Connections(limits: .init(total: 3, perSource: 3))
        for number in 0..<3 { #expect(connections.admit(number, from: "\(number)").evicted == nil) }
        #expect(connections.admit(3, from: "3").evicted == 0)
        #expect(connections.admit(4, from: "4").evicted == 1)
        #expect(connections.count == 3)
    }

    @Test func `at the limit of one source lose the oldest from there`() {
        var connections = Connections(limits: .init(total: 10, perSource: 2))
        _ = connections.admit(0, from: "other")
        _ = connections.admit(1, from: "flood")
        _ = connections.admit(2, from: "flood")
        #expect(connections.admit(3, from: "flood").evicted == 1)
        #expect(connections.admit(4, from: "flood").evicted == 2)
        #expect(connections.count == 3)
    }

    @Test(arguments: [(0, 1, 1), (64, 48, 24), (1024, 768, 384), (1_048_576, 8192, 4096)])
    func `leave descriptors for everything else`(spareDescriptors: Int, total: Int, perSource: Int) {
        let limits = Connections.Limits(spareDescriptors: spareDescriptors)
        #expect(limits.total == total)
        #expect(limits.perSource == perSource)
    }

    @Test func `make room when they leave`() {
        var connections = Connections(limits: .init(total: 2, perSource: 2))
        let (first, _) = connections.admit(0, from: "a")
        _ = connections.admit(1, from: "a")
        #expect(connections.remove(first) == 0)
        #expect(connections.remove(first) == nil)
        #expect(connections.admit(2, from: "a").evicted == nil)
        #expect(connections.admit(3, from: "b").evicted == 1)
    }

    @Test func `keep their count through a long flood in any order`() {
        var connections = Connections(limits: .init(total: 50, perSource: 20))
        var alive: [Connections.ID] = []
        var mostAtOnce = 0
        for number in 0..<5000 {
            let (id, _) = connections.admit(number, from: "source \(number % 7)")
            alive.append(id)
            if number % 3 == 0 { connections.remove(alive.remove(at: number * 31 % alive.count)) }
            mostAtOnce = max(mostAtOnce, connections.count)
        }
        #expect(mostAtOnce == 50)
        for id in alive { connections.remove(id) }
        #expect(connections.count == 0)
    }
}
