import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `The D-Bus API` {
    @Test func `has a path of its own for every client, whatever it is called`() async throws {
        let bus = try await TestBus()
        let names = ["a.b", "a-b", "a_b", "\u{FC} \u{2603}", "123", "a/b"]
        let server = try await started(names.enumerated().map { section($1, key: $0 + 1) }.joined(), on: bus)
        let answer = try await bus.call("/", "se.recompile.Mandos.GetAllClients")
        let paths = answer.output.matches(of: #/'(/clients/[A-Za-z0-9_]+)'/#).map { String($0.output.1) }
        #expect(Set(paths).count == names.count, "\(answer)")
        var found: [String] = []
        for path in paths {
            let name = try await bus.call(
                path, "org.freedesktop.DBus.Properties.Get", ["se.recompile.Mandos.Client", "Name"])
            found.append(name.output)
        }
        for name in names { #expect(found.contains("(<'\(name)'>,)\n"), "\(found)") }
        #expect(server.program.isRunning)
    }

    private static let set = "org.freedesktop.DBus.Properties.Set"
    private static let clientInterface = "se.recompile.Mandos.Client"

    @Test(arguments: [
        ("/clients/foo", set, [clientInterface, "Timeout", "<'long'>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Timeout", "<int64 -1>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Timeout", "<uint64 18446744073709551615>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Timeout", "<uint64 9223372036854775807>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Interval", "<uint64 0>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Enabled", "<'yes'>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Checker", "<''>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Checker", "<'x %(y)s'>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Checker", "<'100%'>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Secret", "<@ay []>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Secret", "<'text'>"], "InvalidArgs"),
        ("/clients/foo", set, [clientInterface, "Name", "<'bar'>"], "PropertyReadOnly"),
        ("/clients/foo", set, [clientInterface, "Colour", "<'red'>"], "UnknownProperty"),
        ("/clients/foo", set, ["se.recompile.Nothing", "Name", "<'bar'>"], "UnknownInterface"),
        ("/clients/foo", "org.freedesktop.DBus.Properties.Get", [clientInterface, "Secret"], "AccessDenied"),
        ("/clients/foo", "\(clientInterface).Fly", [], "UnknownMethod"),
        ("/clients/foo", "\(clientInterface).Approve", [], "InvalidArgs"),
        ("/clients/foo", "\(clientInterface).CheckedOK", ["1"], "InvalidArgs"),
        ("/clients/bar", "\(clientInterface).CheckedOK", [], "UnknownObject"),
        ("/nowhere", "org.freedesktop.DBus.Introspectable.Introspect", [], "UnknownObject"),
        ("/", "se.recompile.Mandos.RemoveClient", ["/clients/bar"], "UnknownObject"),
        ("/", "se.recompile.Mandos.Server1.ListClients", ["['Secret']", "''", "uint32 5"], "UnknownProperty"),
        ("/", set, ["se.recompile.Mandos.Server1", "LogLevels", "<'LOUD'>"], "InvalidArgs"),
    ])
    func `answers nonsense with a standard error, and changes nothing`(
        path: String, method: String, arguments: [String], error: String
    ) async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        func state() async throws -> String {
            try await bus.properties(of: "foo").filter {
                !["LastCheckedOK", "Expires", "CheckerRunning", "LastCheckerStatus"].contains($0.key)
            }
            .sorted { $0.key < $1.key }.description
        }
        let before = try await state()
        let result = try await bus.call(path, method, arguments)
        #expect(result.status != 0)
        #expect(result.errors.contains("org.freedesktop.DBus.Error.\(error): "), "\(result.errors)")
        #expect(try await state() == before)
        #expect(server.program.isRunning)
    }

    @Test func `refuses a secret that is too long`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        let directory = try TemporaryDirectory()
        let file = try directory.write(Data(count: 16 << 20 + 1), to: "secret")
        let result = try await bus.control(["--secret", file, "foo"])
        #expect(result.status == 1, "\(result)")
        #expect(server.program.isRunning)
    }

    @Test(.needsRoot) func `is for root and the Mandos user only`() async throws {
        let bus = try await TestBus(.shipped)
        let server = try await started(section("foo"), on: bus)
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
        let stranger = try await bus.control(["--disable", "foo"], as: 1)
        #expect(stranger.status == 1)
        #expect(stranger.errors.contains("run this as root"), "\(stranger.errors)")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
        #expect(server.program.isRunning)
    }

    @Test func `comes and goes with the bus, and the server goes on`() async throws {
        let bus = try await TestBus(isRunning: false)
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Data("secret".utf8)), bus: bus)
        _ = try await server.program.line(with: "not on the bus; trying again")
        try await bus.start()
        _ = try await server.program.line(with: "on the bus bus.name")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
        try await bus.stop()
        _ = try await server.program.line(with: "connection to the bus lost")
        let served = try client(keys, [server.address])
        #expect(try await served.ending() == .exit(status: 0), "\(served.errors)")
        try await bus.start()
        try await server.program.says("on the bus bus.name", times: 2)
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
    }

    @Test func `does not hold up the server when the bus never answers`() async throws {
        let directory = try TemporaryDirectory()
        try directory.setMode(0o711)
        let script = """
            import os, socket, sys, time
            mute = socket.socket(socket.AF_UNIX); mute.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); mute.listen(9)
            print("listening", file=sys.stderr, flush=True); time.sleep(1000)
            """
        let mute = try RunningProgram("/usr/bin/python3", ["-c", script, directory.path + "/bus"])
        _ = try await mute.line(with: "listening")
        let keys = try await Keys.make()
        let configuration = try TemporaryDirectory()
        try await configuration.write(keys.section("foo", password: Data("secret".utf8)), to: "clients.conf")
        let server = try RunningProgram(
            Place.program("mandos"), Server.options(in: configuration) + ["--debuglevel", "INFO"],
            environment: ["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=\(directory.path)/bus"])
        let client = try client(keys, [try await Server(running: server, in: configuration).address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        server.signal(SIGTERM)
        #expect(try await server.ending() == .exit(status: 0))
    }

    @Test func `announces every client when the server comes, to those who are there already`() async throws {
        let bus = try await TestBus()
        let listener = try RunningProgram(
            "/usr/bin/dbus-monitor",
            [
                "--address", bus.address, "type='signal',member='InterfacesAdded'",
                "type='signal',member='ClientAdded'",
            ])
        try await waitUntil("a monitor that listens") { listener.output.contains(Data("NameAcquired".utf8)) }
        // More than one slice.
        let names = (1...250).map { "c\($0)" }
        let server = try await started(names.enumerated().map { section($1, key: $0 + 1) }.joined(), on: bus)
        func announced(_ signal: String) -> Set<String> {
            let text = String(decoding: listener.output, as: UTF8.self)
            let lines = text.matches(
                of: try! Regex("member=\(signal)\\n +object path \"/clients/(\\w+)\"", as: (Substring, Substring).self))
            return Set(lines.map { String($0.output.1) })
        }
        for signal in ["InterfacesAdded", "ClientAdded"] {
            try await waitUntil("\(signal) for all clients") { announced(signal) == Set(names) }
        }
        #expect(server.program.isRunning)
    }

    @Test func `tells that a client's time ran out`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo", "interval = PT1H\ntimeout = PT2H\n"), on: bus)
        let watch = try await bus.watch(by: "foo")
        #expect(try await bus.control(["--timeout", "PT1S", "foo"]).status == 0)
        try await waitUntil("the change", details: { String(decoding: watch.output, as: UTF8.self) }) {
            watch.output.contains(Data(#"Changed Enabled=false Expires="""#.utf8))
        }
        #expect(server.program.isRunning)
    }

    @Test func `changes how much is logged while the server runs`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        let interface = "'se.recompile.Mandos.Server1'"
        let set = try await bus.call("/", Self.set, [interface, "'LogLevels'", "<'ERROR,checker=DEBUG'>"])
        #expect(set.status == 0, "\(set.errors)")
        let get = try await bus.call("/", "org.freedesktop.DBus.Properties.Get", [interface, "'LogLevels'"])
        #expect(get.output == "(<'ERROR,checker=DEBUG'>,)\n")
        #expect(server.program.isRunning)
    }
}
