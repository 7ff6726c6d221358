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
        var connections: [Int32] = []
        defer { for connection in connections { close(connection) } }
        for number in 0..<300 {
            let connection = try connect(to: server.port)
            connections.append(connection)
            let words = ["", "1\r\n", "GET / HTTP/1.0\r\n\r\n", "1\r\n\u{16}\u{3}\u{3}\u{2}garbage", "\u{0}\n"]
            _ = FakeServer.send(Array(words[number % words.count].utf8), to: connection)
        }
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        #expect(client.output == Self.secret)
        #expect(server.program.isRunning)
    }

    @Test func `survives having no descriptors left, and then serves`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Self.secret), to: "clients.conf")
        let server = try RunningProgram(
            "/usr/bin/prlimit",
            [
                "--nofile=80:80", Place.program("mandos"), "--configdir", directory.path, "--statedir", directory.path,
                "--foreground", "--no-dbus", "--debuglevel", "DEBUG",
            ])
        let line = try await server.line(with: " serving")
        let port = try #require(line.firstMatch(of: /port=(\d+)/).flatMap { Int($0.output.1) })
        var connections: [Int32] = []
        for _ in 0..<200 { connections.append(try connect(to: port)) }
        try await Task.sleep(for: .milliseconds(300))
        #expect(server.isRunning)
        let during = try client(keys, ["127.0.0.1:\(port)"])
        #expect(try await during.ending() == .exit(status: 0), "\(during.errors)")
        for connection in connections { close(connection) }
        let after = try client(keys, ["127.0.0.1:\(port)"])
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
        let keys = try await Keys.make()
        // More than the network holds by itself; its first byte promises an encrypted message.
        let secret = try keys.directory.write(Data([0xC1]) + Data(count: 12_000_000), to: "secret")
        let section = try await keys.section("foo", password: Self.secret)
            .replacing(/(?m)^secret =.*\n(?:[ \t].*\n)*/, with: "secfile = \(secret)\n")
        let bus = try await TestBus()
        let server = try await Server(clients: section + "approval_delay = PT1H\n", bus: bus)
        _ = try await server.program.line(with: "on the bus")
        let client = try client(keys, [server.address])
        _ = try await server.program.line(with: "waiting for approval")
        kill(-client.processID, SIGSTOP)
        #expect(try await bus.control(["--approve", "foo"]).status == 0)
        try await Task.sleep(for: .milliseconds(300))
        #expect(!server.program.errors.contains("secret sent"))
        server.program.signal(SIGTERM)
        let begin = ContinuousClock.now
        #expect(try await server.program.ending() == .exit(status: 0))
        #expect(ContinuousClock.now - begin < .seconds(3))
        #expect(server.program.errors.contains("secret not sent"), "\(server.program.errors)")
        kill(-client.processID, SIGCONT)
        _ = try await client.line(with: "mandos-client: ")
        #expect(client.output.isEmpty, "half a secret is none")
    }

    private func connect(to port: Int) throws -> Int32 {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(port).bigEndian
        let result = unsafe withUnsafePointer(to: address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        return connection
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
                "exec \(Place.program("mandos")) --configdir \(directory.path) --statedir \(directory.path) --foreground"
                    + " --no-dbus --no-zeroconf --port \(port) <&- >&- 2>&-",
            ])
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

                """)
    }

    @Test(arguments: [
        (["--foreground", "--no-zeroconf"], Int32(64), "add --port or --socket"),
        (["--foreground", "--address", "nonsense"], 71, "binding to address nonsense: that is not an IPv6 address"),
        (["--foreground", "--priority", "NONSENSE"], 71, "priority string, from \"NONSENSE\""),
        (["--foreground", "--socket", "99"], 71, "using file descriptor 99 as the socket: Bad file descriptor"),
        (["--foreground", "--debuglevel", "LOUD"], 64, "CRITICAL ERROR WARNING INFO DEBUG"),
        (["--nonsense"], 64, "--nonsense"),
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
        #expect(missing.0 == 78)
        #expect(missing.1 == "mandos: clients.conf: No such file or directory\n")
    }
}

@Suite struct `A client that cannot start` {
    @Test(arguments: [
        (["--server=:80"], Int32(64), "--server=:80: there is no address before the port"),
        (["--domain="], 64, "--domain: not a domain"), (["--delay=soon"], 64, "--delay=soon: not a number of seconds"),
        (["--connect=nowhere"], 64, "--connect=nowhere: there is no port"),
        (["--connect=::1:1", "--retry=soon"], 64, "--retry=soon: not a number of seconds"),
        (["--connect=::1:1", "--dh-bits=-1"], 64, "not a number of bits"),
        (["--connect=::1:1", "--nonsense"], 64, "--nonsense"),
        (["--connect=::1:1", "extra"], 64, "unexpected argument \"extra\""),
        (["--connect=::1:1", "--tls-pubkey=/nonexistent"], 66, "opening /nonexistent: No such file or directory"),
        (["--connect=::1:1", "--tls-privkey=/etc/passwd"], 66, "/etc/passwd: reading the TLS private key"),
        (["--connect=::1:1", "--tls-pubkey=/dev/zero"], 66, "reading /dev/zero: File too large"),
        (["--connect=::1:1", "--priority=NONSENSE"], 64, "priority string, from \"NONSENSE\""),
    ])
    func `says why`(options: [String], status: Int32, message: String) async throws {
        let keys = try await Keys.make()
        let result = try await run(Place.program("mandos-client"), keys.clientOptions + options)
        #expect(result.status == status)
        #expect(result.errors.contains(message), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: ["--help", "-?", "--usage"]) func `answers a call for help`(option: String) async throws {
        let result = try await run(Place.program("mandos-client"), [option])
        #expect(result.status == 0)
        #expect(String(decoding: result.output, as: UTF8.self).contains("--connect=ADDRESS:PORT"))
    }

    @Test(arguments: ["mandos", "mandos-client", "mandos-keygen"])
    func `tells its version`(program: String) async throws {
        let result = try await run(Place.program(program), ["--version"])
        #expect(result.status == 0)
        #expect(String(decoding: result.output, as: UTF8.self).wholeMatch(of: /[a-z-]+ \d+\.\d+\.\d+\n/) != nil)
    }
}
