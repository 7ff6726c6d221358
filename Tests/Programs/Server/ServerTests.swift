import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `The server` {
    private static let secret = Data("secret".utf8)

    @Test func `gives an unknown key nothing, and logs which key from where`() async throws {
        let known = try await Keys.make()
        let unknown = try await Keys.make()
        let server = try await Server(clients: known.section("foo", password: Self.secret))
        let client = try client(unknown, ["127.0.0.1:\(server.port)"])
        _ = try await client.line(with: "it has no secret for us")
        let keyID = try #require(
            try await unknown.section("bar", password: Self.secret).firstMatch(of: /key_id = ([0-9a-f]{64})/)?.output.1)
        let line = try await server.program.line(with: "secret refused")
        #expect(line.contains("warning"))
        #expect(line.contains("key.id=\(keyID)"))
        #expect(line.contains("peer.address=127.0.0.1:"))
        #expect(line.contains("reason=no client has this key ID"))
        #expect(client.output.isEmpty)
    }

    @Test(arguments: [
        ("enabled = no", "client is disabled"), ("key_expires = 2020-01-01", "the client's key has expired"),
        ("approval_delay = PT1S\napproved_by_default = no", "nobody approved it in time"),
    ])
    func `gives a client nothing that may not have it`(options: String, reason: String) async throws {
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Self.secret) + options + "\n")
        let client = try client(keys, [server.address])
        _ = try await client.line(with: "it has no secret for us")
        let line = try await server.program.line(with: "secret refused")
        #expect(line.contains("client.name=foo"))
        #expect(line.contains("reason=\(reason)"))
        #expect(client.output.isEmpty)
    }

    @Test func `approves by default after the delay, and lets go of a client that leaves meanwhile`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Self.secret)
        let slow = try await Server(clients: section + "approval_delay = PT1H\n")
        let impatient = try client(keys, [slow.address])
        _ = try await slow.program.line(with: "waiting for approval")
        impatient.signal(SIGTERM)
        _ = try await slow.program.line(with: "the client left while it waited for approval")

        let quick = try await Server(clients: section + "approval_delay = PT1S\n")
        let patient = try client(keys, [quick.address])
        _ = try await quick.program.line(with: "waiting for approval")
        #expect(try await patient.ending() == .exit(status: 0))
        #expect(patient.output == Self.secret)
    }

    @Test func `serves others while many connections say nothing or nonsense`() async throws {
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Self.secret))
        let words = ["", "1\r\n", "GET / HTTP/1.0\r\n\r\n", "1\r\n\u{16}\u{3}\u{3}\u{2}garbage", "\u{0}\n"]
        try await expectService(of: server, to: keys) {
            try (0..<300).map { number in
                let connection = try FakeServer.connect(to: server.port)
                _ = FakeServer.send(Array(words[number % words.count].utf8), to: connection)
                return connection
            }
        }
        #expect(server.program.isRunning)
    }

    /// Expects that a client gets its secret while the connections that `connect` opens are still there.
    ///
    /// The server cuts silent connections off after 15 seconds. On a busy machine that may be before the client is served,
    /// which proves nothing: then the test tries again.
    private func expectService(
        of server: Server, to keys: Keys, while connect: () async throws -> [Int32]
    ) async throws {
        func cutOff() -> Int { server.program.errors.ranges(of: "it took too long to complete").count }
        try await waitUntil("a client that is served in time", details: { server.program.errors }) {
            let before = cutOff()
            let connections = try await connect()
            defer { for connection in connections { close(connection) } }
            let client = try client(keys, ["127.0.0.1:\(server.port)"])
            #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
            #expect(client.output == Self.secret)
            return cutOff() == before
        }
    }

    @Test func `survives having no descriptors left, and then serves`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Self.secret), to: "clients.conf")
        let program = try RunningProgram(
            "/usr/bin/prlimit",
            ["--nofile=80:80", Place.program("mandos")] + Server.options(in: directory)
                + ["--no-dbus", "--debuglevel", "DEBUG"])
        let server = try await Server(running: program, in: directory)
        try await expectService(of: server, to: keys) {
            let connections = try (0..<200).map { _ in try FakeServer.connect(to: server.port) }
            try await Task.sleep(for: .milliseconds(300))
            #expect(program.isRunning)
            return connections
        }
        let after = try client(keys, ["127.0.0.1:\(server.port)"])
        #expect(try await after.ending() == .exit(status: 0), "\(after.errors)")
        #expect(after.output == Self.secret)
    }

    @Test(arguments: [SIGTERM, SIGINT]) func `stops cleanly at a signal`(signal: Int32) async throws {
        let keys = try await Keys.make()
        let server = try await Server(
            clients: keys.section("foo", password: Self.secret) + "approval_delay = PT1H\n")
        let waiting = try client(keys, [server.address])
        _ = try await server.program.line(with: "waiting for approval")
        server.program.signal(signal)
        #expect(try await server.program.ending() == .exit(status: 0))
        #expect(waiting.output.isEmpty)
    }

    @Test func `does not wait for a client that takes its secret slowly, once it is to stop`() async throws {
        let stopping = try await serverWithSlowClient()
        // The limit for taking a secret, 30 seconds, begins later here: this server has not given up by then.
        let other = try await serverWithSlowClient()
        stopping.server.program.signal(SIGTERM)
        #expect(try await stopping.server.program.ending() == .exit(status: 0))
        #expect(!other.server.program.errors.contains("secret not sent"), "the server waited for the client")
        #expect(stopping.server.program.errors.contains("secret not sent"), "\(stopping.server.program.errors)")
        for one in [stopping, other] { kill(-one.client.processID, SIGCONT) }
        _ = try await stopping.client.line(with: "mandos-client: ")
        #expect(stopping.client.output.isEmpty, "half a secret is none")
    }

    /// A server that is sending a secret, and its client, which is stopped and does not read it.
    private func serverWithSlowClient() async throws -> (server: Server, client: RunningProgram) {
        let keys = try await Keys.make()
        // More than the network holds by itself; its first byte promises an encrypted message.
        let secret = try keys.directory.write(Data([0xC1]) + Data(count: 12_000_000), to: "secret")
        let section = try await keys.section("foo", password: Self.secret)
            .replacing(/(?m)^secret =.*\n(?:[ \t].*\n)*/, with: "secfile = \(secret)\n")
        let bus = try await TestBus()
        let server = try await started(section + "approval_delay = PT1H\n", on: bus)
        let client = try client(keys, [server.address])
        _ = try await server.program.line(with: "waiting for approval")
        kill(-client.processID, SIGSTOP)
        #expect(try await bus.control(["--approve", "foo"]).status == 0)
        try await Task.sleep(for: .milliseconds(300))
        #expect(!server.program.errors.contains("secret sent"))
        return (server, client)
    }
}

@Suite struct `A server with no standard descriptors` {
    @Test func `serves and reloads all the same`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Data("secret".utf8)), to: "clients.conf")
        let port = try FakeServer { _ in }.port
        let server = try RunningProgram(
            "/bin/sh",
            [
                "-c",
                #"exec "$0" "$@" <&- >&- 2>&-"#, Place.program("mandos"),
            ] + Server.options(in: directory) + ["--no-dbus", "--no-zeroconf", "--port", "\(port)"])
        let other = try await Keys.make()
        let first = try client(keys, ["::1:\(port)"])
        #expect(try await first.ending() == .exit(status: 0), "\(first.errors)")
        try await directory.write(other.section("bar", password: Data("other".utf8)), to: "clients.conf")
        server.signal(SIGHUP)
        let second = try client(other, ["::1:\(port)"])
        #expect(try await second.ending() == .exit(status: 0), "\(second.errors)")
        #expect(second.output == Data("other".utf8))
    }
}

@Suite struct `A server that cannot start` {
    private func start(clients: String?, mandos: String? = nil, _ options: [String]) async throws -> (Int32, String) {
        let directory = try TemporaryDirectory()
        if let clients { try directory.write(clients, to: "clients.conf") }
        if let mandos { try directory.write(mandos, to: "mandos.conf") }
        let result = try await run(
            Place.program("mandos"), ["--configdir", directory.path, "--statedir", directory.path] + options)
        return (result.status, result.errors.replacing(directory.path + "/", with: ""))
    }

    @Test func `says so of its configuration in one line each, with status 78`() async throws {
        let (status, errors) = try await start(
            clients: "[foo]\nkey_id = 12\nsecret = c2VjcmV0\ntimeout = PT5X\n", mandos: "[DEFAULT]\nport = http\n",
            ["--foreground"])
        #expect(status == 78)
        #expect(
            errors == """
                mandos: mandos.conf:2: port: "http" is not a number from 1 to 65535
                mandos: clients.conf:2: key_id: is not a key ID: it has 2 characters; a key ID is 64 hexadecimal digits
                mandos: clients.conf:4: timeout: "PT5X": unknown unit at position 4; write a duration such as PT5M or PT1H30M
                mandos: not started, and systemd does not try again: fix the errors above, then start the server

                """)
    }

    @Test func `says so of a name that cannot be announced`() async throws {
        for (name, problem) in [
            (String(repeating: "x", count: 64), "is 64 bytes long"), ("a\u{1}", "control characters"),
        ] {
            let (status, errors) = try await start(
                clients: "[DEFAULT]\n", mandos: "[DEFAULT]\nservicename = \(name)\n", ["--foreground"])
            #expect(status == 78)
            #expect(errors.hasPrefix("mandos: mandos.conf:2: servicename: ") && errors.contains(problem), "\(errors)")
        }
    }

    /// A share that comes late must not keep the service down: 75 is none of RestartPreventExitStatus= in mandos.service.
    @Test(arguments: [
        ("[foo]\nkey_id = \(keyID(1))\nsecfile = /nonexistent/secret\n", "opening /nonexistent/secret: No such file"),
        ("[foo]\nkey_id = \(keyID(1))\nsecfile = /nonexistent/secret\ntimeout = PT5X\n", "\"PT5X\": unknown unit"),
        (nil, "clients.conf: No such file or directory"),
    ])
    func `is started again by systemd if a file could not be read`(clients: String?, message: String) async throws {
        for option in ["--foreground", "--check"] {
            let (status, errors) = try await start(clients: clients, [option])
            #expect(status == 75)
            #expect(errors.contains(message), "\(errors)")
            if option != "--check" { #expect(errors.contains("not started: not all files could be read")) }
        }
    }

    @Test(.needsRoot) func `does not serve without the interface that it is limited to`() async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            status=0
            "$0" "$@" --foreground --interface late0 || status=$?
            [ $status = 71 ]
            # Nor on a socket that it has inherited.
            status=0
            /usr/bin/python3 -c '
            import os, socket, sys
            listener = socket.create_server(("127.0.0.1", 4712))
            os.set_inheritable(listener.fileno(), True)
            os.execv(sys.argv[1], sys.argv[1:] + ["--socket", str(listener.fileno())])
            ' "$0" "$@" --foreground --interface late0 || status=$?
            [ $status = 71 ]
            ip link add late0 type veth peer name late1
            "$0" "$@" --foreground --interface late0 --debuglevel INFO 2>/run/err & server=$!
            wait_for /run/err ' serving'
            kill "$server"
            wait "$server"
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.ranges(of: "binding to the interface late0: No such device").count == 2)
    }

    @Test(arguments: [
        (["--foreground", "--no-zeroconf"], Int32(64), "add --port or --socket"),
        (["--foreground", "--address", "nonsense"], 71, "binding to address nonsense: that is not an IPv6 address"),
        (["--foreground", "--priority", "NONSENSE"], 71, "priority string, from \"NONSENSE\""),
        (["--foreground", "--socket", "99"], 71, "using file descriptor 99 as the socket: Bad file descriptor"),
        (["--foreground", "--debuglevel", "LOUD"], 64, "CRITICAL ERROR WARNING INFO DEBUG"),
        (["--nonsense"], 64, "--nonsense"), (["--foreground", "--servicename", ""], 64, "is 0 bytes long"),
        (
            ["--foreground", "--servicename", "\u{F6}\(String(repeating: "x", count: 62))"], 64,
            "a service name has 1 to 63"
        ),
        (["--foreground", "--servicename", "a\u{85}"], 64, "has control characters"),
    ])
    func `says so of its command line`(options: [String], status: Int32, message: String) async throws {
        let result = try await start(clients: "[DEFAULT]\n", options)
        #expect(result.0 == status)
        #expect(result.1.contains(message), "\(result.1)")
    }

    @Test func `says so of a port in use, and of files that are not there`() async throws {
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Data("x".utf8)))
        let taken = try await start(
            clients: "[DEFAULT]\n", ["--foreground", "--no-dbus", "--no-zeroconf", "--port", "\(server.port)"])
        #expect(taken.0 == 71)
        #expect(taken.1.contains("binding to address :: port \(server.port): Address already in use"))
        let missing = try await start(clients: nil, ["--foreground"])
        #expect(missing.0 == 75)
        #expect(missing.1.hasPrefix("mandos: clients.conf: No such file or directory\n"))
    }
}
