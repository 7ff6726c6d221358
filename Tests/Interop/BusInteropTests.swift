import Foundation
import TestSupport
import Testing

/// Each mandos-ctl with each server, and the D-Bus interfaces of both servers.
@Suite(.needsReference, .needsRoot)
struct `On the bus, together with the reference implementation` {
    private static let clients = (1...3).map { number in
        section(
            "client\(number)", key: number,
            """
            fingerprint = \(String(repeating: "0", count: 39))\(number)
            host = h\(number)
            interval = PT1H

            """)
    }.joined()

    private typealias Control = ([String]) async throws -> (status: Int32, output: String, errors: String)

    /// A server, and both programs that can talk to it.
    private struct Pair {
        let bus: TestBus
        /// The mandos-ctl under test, and the other one, which shows the result.
        let tried: Control
        let other: Control
        let server: Any
    }

    private static func ourServer() async throws -> Pair {
        let bus = try await TestBus()
        let server = try await started(clients, on: bus)
        return Pair(
            bus: bus, tried: { try await Reference.control($0, bus) }, other: { try await bus.control($0) },
            server: server)
    }

    private static func theirServer() async throws -> Pair {
        let server = try await Reference.Server(clients: clients, usesBus: true)
        let bus = server.bus
        try await waitUntil("the reference's server on the bus") {
            try await bus.control(["--check"]).status == 0
        }
        return Pair(
            bus: bus, tried: { try await bus.control($0) }, other: { try await Reference.control($0, bus) },
            server: server)
    }

    private static func all(_ control: Control) async throws -> [String: [String: String]] {
        let result = try await control(["--dump-json"])
        try #require(result.status == 0, "\(result.errors)")
        let all = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String: Any]]
        return try #require(all).mapValues { $0.mapValues { "\($0)" } }
    }

    static let changes: [([String], String, String)] = [
        (["--timeout", "PT7M"], "Timeout", "420000"), (["-t", "P1DT2H"], "Timeout", "93600000"),
        (["--extended-timeout", "PT20M"], "ExtendedTimeout", "1200000"),
        (["--interval", "PT33S"], "Interval", "33000"), (["-i", "PT34S"], "Interval", "34000"),
        (["--approval-delay", "PT30S"], "ApprovalDelay", "30000"),
        (["--approval-duration", "PT31S"], "ApprovalDuration", "31000"),
        (["--deny-by-default"], "ApprovedByDefault", "0"), (["--approve-by-default"], "ApprovedByDefault", "1"),
        (["--host", "elsewhere.example.org"], "Host", "elsewhere.example.org"), (["-H", ""], "Host", ""),
        (["--checker", "true %(host)s"], "Checker", "true %(host)s"), (["-c", "false"], "Checker", "false"),
        (["--disable"], "Enabled", "0"), (["--enable"], "Enabled", "1"), (["-d"], "Enabled", "0"),
        (["-e"], "Enabled", "1"),
    ]

    @Test(arguments: [true, false]) func `every change takes effect, on that client alone`(serverIsOurs: Bool)
        async throws
    {
        let pair = try await serverIsOurs ? Self.ourServer() : Self.theirServer()
        for (arguments, property, value) in Self.changes {
            let before = try await Self.all(pair.other)
            let result = try await pair.tried(arguments + ["client2"])
            #expect(result.status == 0, "\(arguments): \(result.errors)")
            let after = try await Self.all(pair.other)
            let isBoolean = ["Enabled", "ApprovedByDefault"].contains(property)
            let text = after["client2"]?[property].map { isBoolean ? ["true": "1", "false": "0"][$0] ?? $0 : $0 }
            #expect(text == value, "\(arguments)")
            for client in ["client1", "client3"] { #expect(after[client]?[property] == before[client]?[property]) }
        }
    }

    @Test(arguments: [true, false]) func `every action takes effect`(serverIsOurs: Bool) async throws {
        let pair = try await serverIsOurs ? Self.ourServer() : Self.theirServer()
        _ = try await pair.other(["--checker", "sleep 1000", "--all"])
        for (arguments, running) in [(["--start-checker"], true), (["--stop-checker"], false)] {
            #expect(try await pair.tried(arguments + ["client1"]).status == 0)
            try await waitUntil("the effect of \(arguments)") {
                let text = try await Self.all(pair.other)["client1"]?["CheckerRunning"] ?? ""
                return ["1", "true"].contains(text) == running
            }
        }
        #expect(try await pair.tried(["--bump-timeout", "client3"]).status == 0)
        #expect(try await Self.all(pair.other)["client3"]?["LastCheckedOK"]?.isEmpty == false)
        let directory = try TemporaryDirectory()
        let secret = try directory.write(Data([0, 1, 0xFF, 10]), to: "secret")
        #expect(try await pair.tried(["--secret", secret, "client3"]).status == 0)
        #expect(try await pair.tried(["--disable", "--all"]).status == 0)
        #expect(try await pair.tried(["--is-enabled", "client1"]).status == 1)
        #expect(try await pair.tried(["--enable", "client1"]).status == 0)
        #expect(try await pair.tried(["--is-enabled", "client1"]).status == 0)
        #expect(try await pair.tried(["--approve", "client1"]).status == 0)
        #expect(try await pair.tried(["--deny", "--remove", "client2"]).status == 0)
        #expect(try await Set(Self.all(pair.other).keys) == ["client1", "client3"])
        #expect(try await pair.tried(["--disable", "client1", "nobody"]).status == 1)
        #expect(try await pair.tried(["--is-enabled", "client1"]).status == 0, "nothing was changed")
    }

    @Test(arguments: [true, false]) func `both list the same in the same way`(serverIsOurs: Bool) async throws {
        let pair = try await serverIsOurs ? Self.ourServer() : Self.theirServer()
        for arguments in [[], ["--verbose"], ["client1", "client3"]] {
            // Between the two nothing happens: the first check is up to an hour away, and has mostly not come.
            var lists: (String, String) = ("", "")
            for _ in 0..<5 {
                lists = (try await pair.tried(arguments).output, try await pair.other(arguments).output)
                if Self.sorted(lists.0) == Self.sorted(lists.1) { break }
            }
            #expect(Self.sorted(lists.0) == Self.sorted(lists.1))
        }
    }

    private static func sorted(_ text: String) -> [Substring] { text.split(separator: "\n").sorted() }

    /// One line for each member of each interface: its name, type, access, arguments and annotations.
    private static func members(of path: String, _ bus: TestBus) async throws -> Set<String> {
        let script = """
            import dbus, dbus.bus, sys
            import xml.etree.ElementTree as tree
            server = dbus.bus.BusConnection(sys.argv[1]).get_object("se.recompile.Mandos", sys.argv[2], introspect=False)
            # The machine may be busy.
            xml = server.Introspect(dbus_interface="org.freedesktop.DBus.Introspectable", timeout=110)
            xml = xml[xml.index("<node"):]
            for interface in tree.fromstring(xml).iter("interface"):
                for member in interface:
                    if member.tag == "annotation": continue
                    arguments = [(a.get("direction", "out" if member.tag == "signal" else "in"), a.get("type"))
                                 for a in member.iter("arg")]
                    notes = sorted((a.get("name"), a.get("value")) for a in member.iter("annotation"))
                    print(interface.get("name"), member.tag, member.get("name"), member.get("type"), member.get("access"),
                          arguments, notes)
            """
        let result = try await run("/usr/bin/python3", ["-c", script, bus.address, path])
        try #require(result.status == 0, "\(result.errors)")
        return Set(String(decoding: result.output, as: UTF8.self).split(separator: "\n").map(String.init))
    }

    @Test(arguments: ["/", "/clients/client1"]) func `our objects have every member that its objects have`(path: String)
        async throws
    {
        let ours = try await Self.ourServer()
        let theirs = try await Self.theirServer()
        let ourMembers = try await Self.members(of: path, ours.bus)
        let theirMembers = try await Self.members(of: path, theirs.bus).filter { !$0.hasPrefix("se.bsnet.fukt") }
        #expect(theirMembers.count > 5)
        #expect(theirMembers.subtracting(ourMembers).isEmpty)
        let more = ourMembers.subtracting(theirMembers).filter {
            !$0.hasPrefix("se.recompile.Mandos.Server1 ") && !$0.hasPrefix("org.freedesktop.DBus.Properties ")
        }
        #expect(more.isEmpty, "what is ours has an interface of its own")
    }

    @Test func `both say the same of a client when asked for everything`() async throws {
        let ours = try await Self.ourServer()
        let theirs = try await Self.theirServer()
        func values(_ pair: Pair) async throws -> [String] {
            let answer = try await pair.bus.call(
                "/clients/client1", "org.freedesktop.DBus.Properties.GetAll", ["se.recompile.Mandos.Client"])
            try #require(answer.status == 0, "\(answer.errors)")
            // Points in time differ.
            return answer.output.replacing(#/\d{4}-\d\d-\d\dT[0-9:.]+/#, with: "TIME")
                .dropFirst(2).dropLast(4).split(separator: ", '").map { String($0.drop { $0 == "'" || $0 == "{" }) }
                .sorted()
        }
        let (ourValues, theirValues) = (try await values(ours), try await values(theirs))
        #expect(ourValues == theirValues)
    }
}
