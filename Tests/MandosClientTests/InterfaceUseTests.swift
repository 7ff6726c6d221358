import Glibc
import Testing

@testable import MandosClient

/// The messages are as in rtnetlink(7), in this machine's byte order.
@Suite struct `The use of an interface` {
    private static func number(_ value: UInt32) -> [UInt8] { unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }
    private static func short(_ value: UInt16) -> [UInt8] { unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }

    private static func attribute(_ type: UInt16, _ contents: [UInt8]) -> [UInt8] {
        let padding = (4 - contents.count % 4) % 4
        return short(UInt16(4 + contents.count)) + short(type) + contents + [UInt8](repeating: 0, count: padding)
    }

    private static func link(_ index: UInt32, master: UInt32) -> [UInt8] {
        [0, 0, 1, 0] + number(index) + number(0) + number(0) + attribute(3, Array("eth0".utf8) + [0])
            + attribute(10, number(master))
    }

    private static func address(
        _ index: UInt32, _ address: [UInt8], scope: UInt8 = 0, flags: UInt32 = 0x80
    ) -> [UInt8] {
        [address.count == 4 ? 2 : 10, 64, UInt8(truncatingIfNeeded: flags), scope] + number(index)
            + attribute(1, address) + attribute(8, number(flags))
    }

    private static func route(protocol number: UInt8, _ attributes: [UInt8]) -> [UInt8] {
        [2, 24, 0, 0, 254, number, 0, 1] + Self.number(0) + attributes
    }

    private static func through(_ index: UInt32) -> [UInt8] { attribute(4, number(index)) }

    private static func hop(_ index: UInt32) -> [UInt8] {
        short(16) + [0, 0] + number(index) + attribute(5, [1, 2, 3, 4])
    }

    private static func use(_ messages: [(UInt16, [UInt8])]) -> InterfaceUse {
        // As the kernel sends them: each with a header.
        let sent = messages.flatMap { type, body in
            number(UInt32(16 + body.count)) + short(type) + short(2) + number(0) + number(0) + body
                + [UInt8](repeating: 0, count: (4 - body.count % 4) % 4)
        }
        var use = InterfaceUse()
        for message in NetlinkMessage.split(sent[...]) { use.add(message, for: 7) }
        return use
    }

    private static let global: [UInt8] = [0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 1, count: 12)

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let messages: [(UInt16, [UInt8])]
        let hasGrown: Bool

        init(_ description: String, _ messages: [(UInt16, [UInt8])], hasGrown: Bool) {
            testDescription = description
            self.messages = messages
            self.hasGrown = hasGrown
        }
    }

    @Test(arguments: [
        Case("nothing", [], hasGrown: false),
        Case("a master", [(16, link(7, master: 3))], hasGrown: true),
        Case("no master", [(16, link(7, master: 0))], hasGrown: false),
        Case("a master of another", [(16, link(8, master: 3))], hasGrown: false),
        Case("an IPv4 address", [(20, address(7, [192, 0, 2, 1]))], hasGrown: true),
        Case("a secondary IPv4 address", [(20, address(7, [192, 0, 2, 1], flags: 0x81))], hasGrown: true),
        Case("an IPv6 address", [(20, address(7, global))], hasGrown: true),
        Case("an address of another", [(20, address(8, global))], hasGrown: false),
        Case("a link-local address", [(20, address(7, global, scope: 253))], hasGrown: false),
        Case("one from a router's advertisement", [(20, address(7, global, flags: 0x100))], hasGrown: false),
        Case("a temporary one", [(20, address(7, global, flags: 0x1))], hasGrown: false),
        Case("one that a program made of an advertisement", [(20, address(7, global, flags: 0x300))], hasGrown: true),
        Case("a route", [(24, route(protocol: 3, through(7)))], hasGrown: true),
        Case("a route of another", [(24, route(protocol: 3, through(8)))], hasGrown: false),
        Case("the kernel's route", [(24, route(protocol: 2, through(7)))], hasGrown: false),
        Case("a router's route", [(24, route(protocol: 9, through(7)))], hasGrown: false),
        Case(
            "one of two ways of a route", [(24, route(protocol: 16, attribute(9, hop(8) + hop(7))))], hasGrown: true),
        Case("neither way of a route", [(24, route(protocol: 16, attribute(9, hop(8) + hop(6))))], hasGrown: false),
        Case("cut off", [(20, []), (16, number(0)), (24, [2])], hasGrown: false),
        Case("a wrong length", [(24, route(protocol: 3, short(200) + short(4)))], hasGrown: false),
    ])
    func `has grown with what others have set up, not with what the kernel does by itself`(_ example: Case) {
        #expect(Self.use(example.messages).hasGrown(since: InterfaceUse()) == example.hasGrown)
    }

    @Test func `has not grown with what was there before`() {
        let before = Self.use([(16, Self.link(7, master: 3)), (20, Self.address(7, [192, 0, 2, 1]))])
        #expect(!before.hasGrown(since: before))
        #expect(!InterfaceUse().hasGrown(since: before))
        #expect(Self.use([(16, Self.link(7, master: 4))]).hasGrown(since: before))
    }
}
