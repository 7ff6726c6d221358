import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `mandos-ctl` {
    @Test func `changes every setting, and shows it afterwards`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo") + section("bar", key: 2), on: bus)
        let before = try await bus.properties(of: "bar")
        let changed = try await bus.control([
            "--timeout=PT9M", "--extended-timeout=PT1H", "--interval=PT77S", "--approval-delay=PT1S",
            "--approval-duration=PT2S", "--deny-by-default", "--host=h\u{F6}st", "--checker=true %(host)s", "foo",
        ])
        #expect(changed.status == 0 && changed.errors.isEmpty, "\(changed.errors)")
        let foo = try await bus.properties(of: "foo")
        let expected = [
            "Timeout": "540000", "ExtendedTimeout": "3600000", "Interval": "77000", "ApprovalDelay": "1000",
            "ApprovalDuration": "2000", "Host": "h\u{F6}st", "Checker": "true %(host)s",
        ]
        for (name, value) in expected { #expect(foo[name] == value) }
        #expect(["0", "false"].contains(foo["ApprovedByDefault"] ?? ""))
        let after = try await bus.properties(of: "bar")
        for name in expected.keys { #expect(after[name] == before[name]) }

        // They are not lost in a crash.
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        let restored = try await bus.properties(of: "foo")
        for (name, value) in expected { #expect(restored[name] == value) }
    }

    @Test func `shows no text that a terminal would obey`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("f\u{202E}oo"), on: bus)
        #expect(try await bus.control(["--host", "h\u{9B}\u{85}\u{2028}", "--all"]).status == 0)
        let list = try await bus.control(["--verbose"])
        #expect(
            list.output.contains(#"f\u{202e}oo"#) && list.output.contains(#"h\u{9b}\u{85}\u{2028}"#), "\(list.output)")
        let json = try await bus.control(["--dump-json"])
        #expect(json.output.contains(#""f\u202eoo": {"#), "\(json.output)")
        #expect(json.output.contains(#""h\u009b\u0085\u2028""#), "\(json.output)")
        for output in [list.output, json.output] {
            #expect(!output.unicodeScalars.contains { "\u{9B}\u{85}\u{2028}\u{202E}".unicodeScalars.contains($0) })
        }
        #expect(try await bus.properties(of: "f\u{202E}oo")["Host"] == "h\u{9B}\u{85}\u{2028}")
        let complaint = try await bus.control(["--disable", "x\u{9B}"])
        #expect(complaint.errors.contains(#"no client "x\u{9b}""#), "\(complaint.errors)")
        #expect(server.program.isRunning)
    }

    @Test func `enables, disables and removes, durably`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let clients = try await keys.section("foo", password: Data("secret".utf8)) + section("bar", key: 2)
        let server = try await started(clients, on: bus)
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
        #expect(try await bus.control(["--disable", "--all"]).status == 0)
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 1)
        #expect(try await bus.control(["--status"]).status == 1)
        let refused = try client(keys, [server.address])
        _ = try await refused.line(with: "it has no secret for us")
        #expect(try await bus.control(["--enable", "--all"]).status == 0)
        #expect(try await bus.control(["--status"]).status == 0)
        let served = try client(keys, [server.address])
        #expect(try await served.ending() == .exit(status: 0), "\(served.errors)")

        #expect(try await bus.control(["--remove", "foo"]).status == 0)
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "an operator removed it")
        _ = try await again.program.line(with: "on the bus")
        let list = try await bus.control([])
        let lines = list.output.split(separator: "\n")
        #expect(lines.count == 2 && lines[1].hasPrefix("bar  Yes     00:05:00 "), "\(list.output)")
        #expect(!list.output.contains("foo"))
    }

    @Test func `changes the other clients too when one cannot be changed, and tells which`() async throws {
        let bus = try await TestBus()
        let clients = ["a", "b", "c"].enumerated().map { section($1, key: $0 + 1) }.joined()
        let server = try await started(clients, on: bus)
        // One client's change is refused: the rest is done.
        let refused = try await bus.control(["--checker=x %(nothing)s", "--disable", "--all"])
        #expect(refused.status == 1)
        #expect(refused.errors.split(separator: "\n").count == 3, "\(refused.errors)")
        for name in ["a", "b", "c"] { #expect(try await bus.control(["--is-enabled", name]).status == 1) }
        withExtendedLifetime(server) {}
    }

    @Test func `lists and forgets clients that left while they were disabled, and adds them disabled`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("a") + section("b", key: 2) + section("c", key: 3), on: bus)
        #expect(try await bus.control(["--disable", "a", "b"]).status == 0)
        try server.configuration.write(section("c", key: 3), to: "clients.conf")
        #expect(try await bus.control(["--reload"]).status == 0)
        let absent = try await bus.control(["--absent"])
        #expect(absent.output == "a  \(keyID(1))\nb  \(keyID(2))\n", "\(absent.errors)")

        let file = try server.configuration.write(section("d", key: 1), to: "section")
        let added = try await bus.control(["--add", file])
        #expect(added.status == 0 && added.output.contains("added, but disabled"), "\(added.errors)")
        #expect(try await bus.control(["--is-enabled", "d"]).status == 1)
        #expect(try await bus.control(["--absent"]).output == "b  \(keyID(2))\n")

        #expect(try await bus.control(["--forget", "b"]).status == 0)
        let unknown = try await bus.control(["--forget", "b"])
        #expect(unknown.status == 1 && unknown.errors.contains("there is no absent client b"), "\(unknown.errors)")
        #expect(try await bus.control(["--absent"]).output.isEmpty)
        try server.configuration.write(section("c", key: 3) + section("b", key: 2), to: "clients.conf")
        #expect(try await bus.control(["--reload"]).status == 0)
        #expect(try await bus.control(["--is-enabled", "b"]).status == 0)
    }

    @Test func `sets a secret of any bytes, and restarts the life of a client`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let wrong = try await keys.section("foo", password: Data("wrong".utf8))
        let right = try await Keys(directory: keys.directory).section("foo", password: Data("right".utf8))
        let base64 = try #require(right.firstMatch(of: /secret =((?s:.*))$/)?.output.1)
        let secret = try #require(Data(base64Encoded: base64.filter { !$0.isWhitespace }))
        let server = try await started(wrong, on: bus)
        let file = try keys.directory.write(secret, to: "secret")
        #expect(try await bus.control(["--secret", file, "--bump-timeout", "foo"]).status == 0)
        #expect(try await bus.properties(of: "foo")["LastCheckedOK"] != "")
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        #expect(client.output == Data("right".utf8))
    }

    @Test(arguments: [true, false]) func `answers requests, also those that come later`(approved: Bool) async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let server = try await started(
            keys.section("foo", password: Data("secret".utf8)) + "approval_delay = PT1H\n", on: bus)
        let answering = try RunningProgram(
            Place.program("mandos-ctl"), [approved ? "--approve" : "--deny", "--wait", "foo"],
            environment: bus.environment)
        let asking = try client(keys, [server.address])
        #expect(try await answering.ending() == .exit(status: 0), "\(answering.errors)")
        if approved {
            #expect(try await asking.ending() == .exit(status: 0), "\(asking.errors)")
            #expect(asking.output == Data("secret".utf8))
        } else {
            _ = try await asking.line(with: "it has no secret for us")
            #expect(try await server.program.line(with: "secret refused").contains("an operator denied it"))
        }
    }

    @Test func `changes nothing if one of the clients does not exist`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        let result = try await bus.control(["--disable", "foo", "b\u{E4}r", "baz"])
        #expect(result.status == 1)
        #expect(
            result.errors == "mandos-ctl: the server has no client \"b\u{E4}r\", \"baz\"; nothing was changed\n")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
        #expect(server.program.isRunning)
    }

    @Test(arguments: [
        ["--all"], ["--enable"], ["--verbose", "--dump-json"], ["--dump-json", "--enable", "foo"],
        ["--all", "-e", "foo"],
        ["--is-enabled"], ["--is-enabled", "foo", "bar"], ["--remove", "--enable", "foo"],
        ["--enable", "--disable", "a"],
        ["--approve", "--deny", "a"], ["--start-checker", "--stop-checker", "a"], ["--timeout", "PT5X", "a"],
        ["--wait", "a"], ["--status", "a"], ["--remove", "--approve", "a"], ["--verbose", "--disable", "a"],
    ])
    func `refuses options that contradict each other, without asking the server`(arguments: [String]) async throws {
        let result = try await run(
            Place.program("mandos-ctl"), arguments, environment: ["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"])
        #expect(result.status == 64)
        #expect(result.errors.hasPrefix("Error: "))
    }

    @Test func `says so when it cannot print`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        for arguments in ["", "--dump-json", "--status", "--check"] {
            let result = try await run(
                "/bin/sh", ["-c", "exec \(Place.program("mandos-ctl")) \(arguments) >/dev/full"],
                environment: bus.environment)
            #expect(result.status == 1 && result.errors.contains("standard output"), "\(arguments): \(result)")
        }
        #expect(server.program.isRunning)
    }

    @Test func `says what is wrong when there is no bus, or no server`() async throws {
        let bus = try await TestBus(isRunning: false)
        let noBus = try await bus.control([])
        #expect(noBus.status == 1 && noBus.errors.contains("connecting to the system bus"), "\(noBus.errors)")
        try await bus.start()
        let noServer = try await bus.control(["--status"])
        #expect(noServer.status == 2 && noServer.errors.contains("there is no Mandos server on the bus"))
    }

    @Test func `adds a client, which stays, and is refused what a file would be refused`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let server = try await started("[DEFAULT]\ntimeout = PT7M\n" + section("bar", key: 2), on: bus)
        let new = try await keys.section("new", password: Data("secret".utf8))
        let file = try server.configuration.write(new, to: "new.section")
        let added = try await bus.control(["--add", file])
        #expect(added.status == 0, "\(added.errors)")
        #expect(try await bus.properties(of: "new")["Timeout"] == "420000", "the defaults hold for it")
        for (text, message) in [
            (new, "there is a client of that name"),
            (new.replacing("[new]", with: "[newer]"), "[new] has the same key ID"),
            ("[x]\nkey_id = 12\nsecret = c2VjcmV0\n", "a key ID is 64 hexadecimal digits"),
            ("nonsense", "this line comes before any section"), ("", "must be exactly one section"),
            (section("x", key: 9) + section("y", key: 8), "must be exactly one section"),
            ("[DEFAULT]\nhost = x\n" + section("x", key: 9), "must be exactly one section"),
            (section("x", key: 9).replacing("secret =", with: "secfile ="), "must have its secret in the section"),
        ] {
            let file = try server.configuration.write(text, to: "bad.section")
            let refused = try await bus.control(["--add", file])
            #expect(refused.status == 1 && refused.errors.contains(message), "\(refused.errors)")
        }
        try server.configuration.write("[DEFAULT]\n" + section("bar", key: 2), to: "clients.conf")
        #expect(try await bus.control(["--reload"]).status == 0)
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.properties(of: "new")["Timeout"] == "300000", "the defaults have changed")
        let client = try client(keys, [again.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        #expect(try await bus.control(["--remove", "new"]).status == 0)
        #expect(try await bus.control(["--add", file]).status == 0, "what was removed may come back")
        #expect(try await bus.control(["--is-enabled", "new"]).status == 0)
    }

    /// The events that `mandos-ctl --watch --dump-json` has printed.
    private func events(in watch: RunningProgram) -> [[String: Any]] {
        watch.output.split(separator: UInt8(ascii: "\n")).compactMap {
            try? JSONSerialization.jsonObject(with: $0) as? [String: Any]
        }
    }

    @Test func `prints events as they happen`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo", "interval = PT1H\n") + section("bar", key: 2), on: bus)
        let watch = try RunningProgram(
            Place.program("mandos-ctl"), ["--watch", "--dump-json", "foo"], environment: bus.environment)
        try await waitUntil("four events", details: { watch.errors }) {
            _ = try await bus.control(["--start-checker", "--all"])
            return events(in: watch).count >= 4
        }
        let all = events(in: watch)
        #expect(all.allSatisfy { $0["client"] as? String == "foo" })
        #expect(all.contains { $0["event"] as? String == "CheckerStarted" && $0["command"] as? String == "true" })
        #expect(all.contains { $0["event"] as? String == "Changed" })
        #expect(server.program.isRunning)
    }

    @Test func `prints requests, their outcomes, and clients that come and go`() async throws {
        let bus = try await TestBus()
        let (known, unknown) = (try await Keys.make(), try await Keys.make())
        let server = try await started(
            known.section("foo", password: Data("secret".utf8)) + "approval_delay = PT1H\n", on: bus)
        let watch = try await bus.watch(["--dump-json"], by: "foo")
        func event(_ name: String, _ facts: [String: String] = [:]) async throws {
            try await waitUntil("\(name) \(facts)", details: { String(decoding: watch.output, as: UTF8.self) }) {
                events(in: watch).contains { event in
                    event["event"] as? String == name
                        && facts.allSatisfy { fact in event[fact.key].map { "\($0)" } == fact.value }
                }
            }
        }
        for (approved, outcome) in [(false, "Rejected"), (true, "GotSecret")] {
            let asking = try client(known, [server.address])
            try await event("NeedApproval", ["client": "foo", "default": "1"])
            try await event("ApprovalRequested", ["client": "foo"])
            let answering = try await bus.control([approved ? "--approve" : "--deny", "--wait", "foo"])
            #expect(answering.status == 0)
            try await event(outcome, approved ? ["client": "foo"] : ["client": "foo", "reason": "Denied"])
            if !approved { asking.signal(SIGTERM) }
            _ = try await asking.ending()
        }
        let stranger = try client(unknown, [server.address])
        try await event("ClientNotFound")
        stranger.signal(SIGTERM)
        try server.configuration.write(section("bar", key: 2), to: "clients.conf")
        #expect(try await bus.control(["--reload"]).status == 0)
        try await event("Added", ["client": "bar"])
        try await event("Removed", ["client": "foo"])
        #expect(server.program.isRunning)
    }
}
