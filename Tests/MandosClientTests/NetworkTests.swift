import Foundation
import Glibc
import MandosFormats
import TestSupport
import Testing

@testable import POSIXKit
@testable import MandosClient

@Suite struct `Interfaces` {
    private static func interface(_ name: String, _ flags: Int...) -> NetworkInterface {
        NetworkInterface(name: name, index: 1, flags: Int32(flags.reduce(0, |)))
    }

    private static let all = [
        interface("lo", IFF_LOOPBACK), interface("eth0", IFF_BROADCAST), interface("eth1", IFF_BROADCAST, IFF_UP),
        interface("tun0", IFF_POINTOPOINT), interface("dummy0", IFF_BROADCAST, IFF_NOARP), interface("ib0"),
    ]

    struct Case: Sendable {
        let names: [String]
        let isForNamedServers: Bool
        let used: [String]
        let broughtUp: [String]
    }

    @Test(arguments: [
        Case(names: [], isForNamedServers: false, used: ["eth0", "eth1"], broughtUp: ["eth0", "eth1"]),
        Case(names: [""], isForNamedServers: false, used: ["eth0", "eth1"], broughtUp: ["eth0", "eth1"]),
        Case(
            names: [], isForNamedServers: true, used: ["eth0", "eth1", "tun0", "ib0"],
            broughtUp: ["eth0", "eth1", "tun0", "ib0"]),
        Case(names: ["tun0", "lo"], isForNamedServers: false, used: ["lo", "tun0"], broughtUp: ["lo", "tun0"]),
        Case(names: ["none"], isForNamedServers: false, used: ["eth0", "eth1"], broughtUp: []),
        Case(names: ["eth1", "none", "eth0"], isForNamedServers: false, used: ["eth0", "eth1"], broughtUp: ["eth1"]),
        Case(names: ["eth7"], isForNamedServers: false, used: [], broughtUp: []),
    ])
    func `are used and brought up as the manual says`(example: Case) {
        let selection = InterfaceSelection(names: example.names, isForNamedServers: example.isForNamedServers)
        #expect(Self.all.filter(selection.uses).map(\.name) == example.used)
        #expect(Self.all.filter(selection.bringsUp).map(\.name) == example.broughtUp)
    }

    @Test func `that is named alone is the one to connect through`() {
        func only(_ names: [String]) -> String? { InterfaceSelection(names: names, isForNamedServers: true).only }
        #expect(only(["eth0"]) == "eth0")
        #expect(only(["eth0", "none"]) == "eth0")
        #expect(only(["eth0", "eth1"]) == nil)
        #expect(only(["none"]) == nil)
        #expect(only([]) == nil)
    }

    @Test func `of this machine are seen`() throws {
        let loopback = try #require(NetworkInterface.named("lo"))
        #expect(loopback.isLoopback && !loopback.isPointToPoint && !loopback.canBroadcast && !loopback.hasNoARP)
        #expect(NetworkInterface.all().contains { $0.name == "lo" && $0.index == loopback.index })
        #expect(NetworkInterface.name(of: loopback.index) == "lo")
        #expect(NetworkInterface.named("no such name") == nil)
        #expect(NetworkInterface.named(String(repeating: "x", count: 100)) == nil)
    }
}

@Suite struct `A request to the network helper` {
    @Test func `arrives as it was sent`() throws {
        let address: [UInt8] = Array(1...16)
        func received(_ request: NetworkRequest) throws -> NetworkRequest {
            #expect(request.message.count <= NetworkRequest.maximumLength)
            return try #require(NetworkRequest(request.message[...]))
        }
        guard case .runHooks = try received(.runHooks), case .settled = try received(.settled),
            case .bringUp(0x0102_0304) = try received(.bringUp(interface: 0x0102_0304)),
            case .addRoute(address, "eth0") = try received(.addRoute(address: address, interface: "eth0")),
            case .addRoute([1, 2, 3, 4], "e") = try received(.addRoute(address: [1, 2, 3, 4], interface: "e")),
            case .setClock(forwardTo: 1_795_246_000_123) = try received(.setClock(forwardTo: 1_795_246_000_123)),
            case .restore(by: 123_456_789_012) = try received(.restore(by: 123_456_789_012)),
            case .restore(by: .max) = try received(.restore(by: .max))
        else {
            Issue.record("something else arrived")
            return
        }
    }

    @Test func `is nil if the message is malformed`() {
        for message: [UInt8] in [
            [], [0], [6], [7], [2, 1, 2, 3], [255], [3], [3, 4, 1, 2, 3, 4], [3, 5, 1, 2, 3, 4, 5, 65], [4, 1],
            [3, 200, 1],
        ] {
            #expect(NetworkRequest(message[...]) == nil, "\(message)")
        }
    }
}

@Suite struct `Network hooks` {
    @Test(arguments: [
        ("bridge", true), ("10_open-vpn.sh", true), ("a b", false), ("x~", false), ("é", false), ("a/b", false),
    ])
    func `have plain names`(name: String, isOne: Bool) { #expect(NetworkHooks.isHookName(name) == isOne) }

    /// Runs the helper in a thread of this process; no privilege is needed.
    @Test func `that hang are ended`() async throws {
        let directory = try TemporaryDirectory()
        // The processes that it has started end with it.
        let group = directory.path + "/group"
        try directory.writeScript("echo $$ >>\(group)\nsleep 1000 & sleep 1000\n", to: "hangs")
        let hooks = NetworkHooks(
            directory: directory.path, devices: [], delay: "1", connect: nil, isVerbose: false, timeLimit: 200)
        var complaints: [String] = []
        var ends: [Int32] = [-1, -1]
        try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
        let ours = POSIXKit.FileDescriptor(owning: ends[0])
        let its = POSIXKit.FileDescriptor(owning: ends[1])
        _ = unsafe NetworkRequest.runHooks.message.withUnsafeBytes { try? unsafe ours.write($0) }
        // It has this one request, and then sees the end.
        shutdown(ours.number, Int32(SHUT_WR))
        let begin = ContinuousClock.now
        NetworkHelper(hooks: hooks, isSetUID: false, isVerbose: false, isInOwnProcess: false) {
            complaints.append($0)
        }
        .serve(its)
        #expect(ContinuousClock.now - begin < .seconds(900), "neither did it wait for the end of the hook")
        #expect(complaints.contains { $0.hasSuffix("hangs stop took longer than 0 s, and was ended") }, "\(complaints)")
        for group in try String(contentsOfFile: group, encoding: .utf8).split(separator: "\n") {
            let group = try #require(pid_t(group))
            // A process that has ended is there until its parent has waited for it.
            try await waitUntil("the end of the whole process group \(group)") { kill(-group, 0) != 0 }
        }
    }
}
