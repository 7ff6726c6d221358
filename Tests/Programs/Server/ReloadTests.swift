import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `A reload at SIGHUP` {
    private static let password = Data("secret".utf8)

    /// The process that reads the configuration.
    private static func helper(of server: Server) throws -> Int32 {
        try #require(
            server.program.children.first { child in
                FileManager.default.contents(atPath: "/proc/\(child)/comm") == Data("mandos-config\n".utf8)
            })
    }

    /// Has something happen to a system call of a process and its children, as a bad disk does. Source: strace(1), `--inject`.
    private static func disk(of process: Int32, _ call: String, _ what: String) async throws -> RunningProgram {
        let tracer = try RunningProgram(
            "/usr/bin/strace",
            ["-f", "-qq", "-p", "\(process)", "-e", "trace=\(call)", "-e", "inject=\(call):\(what)", "-o", "/dev/null"])
        try await waitUntil("a tracer", details: { tracer.errors }) {
            let status = FileManager.default.contents(atPath: "/proc/\(process)/status") ?? Data()
            return !String(decoding: status, as: UTF8.self).contains("TracerPid:\t0\n")
        }
        return tracer
    }

    @Test func `takes over new, changed and removed clients while others go on`() async throws {
        let (old, new, changed) = (try await Keys.make(), try await Keys.make(), try await Keys.make())
        let delayed = "approval_delay = PT1H\n"
        let changing = try await changed.section("changed", password: Self.password)
        let server = try await Server(
            clients: try await old.section("old", password: Self.password) + delayed + changing)
        let waiting = try client(old, [server.address])
        _ = try await server.program.line(with: "waiting for approval")
        // Secret files are for root's eyes too.
        let secret = try server.configuration.write(
            Data("other bytes, that are no OpenPGP message".utf8), to: "secret")
        let section = try await new.section("new", password: Self.password)
        try server.configuration.write(
            section + changing.replacing(/(?m)^secret =.*\n(?:[ \t].*\n)*/, with: "secfile = \(secret)\n"),
            to: "clients.conf")
        server.program.signal(SIGHUP)
        let line = try await server.program.line(with: "configuration reloaded")
        #expect(line.hasSuffix("added=1 changed=1 removed=1"))

        let refusal = try await server.program.line(with: "secret refused")
        #expect(refusal.contains("reason=no client has this key ID"), "the one that was waiting is gone")
        #expect(waiting.output.isEmpty)
        let fetched = try client(new, [server.address])
        #expect(try await fetched.ending() == .exit(status: 0), "\(fetched.errors)")
        #expect(fetched.output == Self.password)
        let different = try client(changed, [server.address])
        _ = try await different.line(with: "is not an encrypted OpenPGP message")
        #expect(different.output.isEmpty)
    }

    @Test func `that finds an error changes nothing and says why`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Self.password)
        let server = try await Server(clients: section)
        for (clients, mandos, message) in [
            ("[DEFAULT]\n" + section + "enabled = maybe\n", "", "clients.conf:"),
            ("[DEFAULT]\n", "[DEFAULT]\nport = http\n", "mandos.conf:2: port:"),
            (
                "[bar]\nkey_id = \(keyID(7))\nsecfile = /nonexistent\n", "",
                "secfile: opening /nonexistent"
            ),
        ] {
            try server.configuration.write(clients, to: "clients.conf")
            try server.configuration.write(mandos, to: "mandos.conf")
            server.program.signal(SIGHUP)
            _ = try await server.program.line(with: message)
        }
        try FileManager.default.removeItem(atPath: server.configuration.path + "/clients.conf")
        server.program.signal(SIGHUP)
        _ = try await server.program.line(with: "clients.conf: No such file")
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        #expect(client.output == Self.password)
        #expect(!server.program.errors.contains("configuration reloaded"))
    }

    @Test func `cuts off a client that is disabled there, for good`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Self.password)
        let server = try await Server(clients: section)
        for enabled in ["no", "yes"] {
            try server.configuration.write(section + "enabled = \(enabled)\n", to: "clients.conf")
            server.program.signal(SIGHUP)
            _ = try await server.program.line(
                with: enabled == "no" ? "client disabled client.name=foo reason=clients.conf says so" : "secret refused"
            )
            let client = try client(keys, [server.address])
            if enabled == "no" {
                _ = try await client.line(with: "it has no secret for us")
            } else {
                #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
            }
        }
    }

    @Test func `changes how much is logged, and says what needs a restart`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Self.password), to: "clients.conf")
        try directory.write("[DEFAULT]\ndebuglevel = INFO\n", to: "mandos.conf")
        let server = try RunningProgram(Place.program("mandos"), Server.options(in: directory) + ["--no-dbus"])
        let port = try await Server(running: server, in: directory).port
        try directory.write("[DEFAULT]\ndebuglevel = WARNING,request=ERROR\nport = 99\n", to: "mandos.conf")
        server.signal(SIGHUP)
        let warning = try await server.line(with: "take effect only after a restart")
        #expect(warning.hasSuffix("options=port"))
        let client = try client(keys, ["::1:\(port)"])
        #expect(try await client.ending() == .exit(status: 0))
        #expect(!server.errors.contains("secret sent"))
    }

    @Test(arguments: ["clients.d/pipe.conf", "mandos.conf", "pipe"])
    func `that finds something else than a file refuses it at once, and the next one is served`(name: String)
        async throws
    {
        let server = try await Server(clients: section("foo"))
        try server.configuration.addDirectory("clients.d")
        let pipe = server.configuration.path + "/" + name
        // Nothing is ever written to it.
        try #require(unsafe mkfifo(pipe, 0o600) == 0)
        let secret = name == "pipe" ? "[bar]\nkey_id = \(keyID(7))\nsecfile = \(pipe)\n" : ""
        try server.configuration.write(section("foo") + secret, to: "clients.conf")
        server.program.signal(SIGHUP)
        _ = try await server.program.line(with: "is not a regular file")
        _ = try await server.program.line(with: "configuration not reloaded")
        let check = try await runForText(
            Place.program("mandos"), Server.options(in: server.configuration) + ["--check"])
        #expect(check.status == 78, "no mistake that passes by itself; \(check)")
        try FileManager.default.removeItem(atPath: pipe)
        try server.configuration.write(section("foo"), to: "clients.conf")
        server.program.signal(SIGHUP)
        _ = try await server.program.line(with: "configuration reloaded")
    }

    @Test func `that never ends holds up neither operators nor the end`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Self.password)
        let server = try await started(section, on: bus)
        // As if it waited for a network file system whose server is gone.
        let helper = try Self.helper(of: server)
        kill(helper, SIGSTOP)
        // Then it ends with its server.
        defer { kill(helper, SIGCONT) }
        let reloading = try RunningProgram(
            Place.program("mandos-ctl"), ["--reload"], environment: bus.environment)
        try await Task.sleep(for: .milliseconds(300))
        #expect(reloading.isRunning)
        #expect(try await bus.control(["--disable", "foo"]).status == 0)
        server.program.signal(SIGTERM)
        #expect(try await server.program.ending() == .exit(status: 0), "\(server.program.errors)")
    }

    /// This takes over a minute: the limits are those of the server. A process that is stopped stands in for one that waits for
    /// a disk, which no signal ends either.
    @Test(.needsRoot) func `that cannot even be ended fails in the end`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Self.password)
        let (reading, helping) = (try await Server(clients: section), try await Server(clients: section))
        let hour = 3_600_000_000
        let disk = try await Self.disk(of: Self.helper(of: reading), "openat", "delay_enter=\(hour)")
        reading.program.signal(SIGHUP)
        let stopped = try Self.helper(of: helping)
        kill(stopped, SIGSTOP)
        // Then it ends with its server.
        defer { kill(stopped, SIGCONT) }
        helping.program.signal(SIGHUP)
        #expect(try await reading.program.line(with: "not reloaded").contains("over 60 seconds"))
        disk.signal(SIGTERM)
        _ = try await disk.ending()
        reading.program.signal(SIGHUP)
        _ = try await reading.program.line(with: "configuration reloaded")
        #expect(try await helping.program.line(with: "not reloaded").contains("restart the server"))
    }

    /// A read error in the middle of a directory must not look like its end: the clients behind it would lose their state.
    @Test(.needsRoot) func `that cannot read all of clients.d changes nothing`() async throws {
        let directory = try TemporaryDirectory(["clients.conf": section("a", key: 1)])
        try directory.addDirectory("clients.d")
        try directory.write(section("b", key: 2), to: "clients.d/b.conf")
        let server = try await Server(in: directory)
        let disk = try await Self.disk(of: Self.helper(of: server), "getdents64", "error=EIO")
        server.program.signal(SIGHUP)
        _ = try await server.program.line(with: "clients.d: Input/output error")
        _ = try await server.program.line(with: "configuration not reloaded")
        #expect(!server.program.errors.contains("client removed"))
        disk.signal(SIGTERM)
    }

    @Test func `that would leave no client at all is refused`() async throws {
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Self.password))
        // As an editor leaves the file for a moment.
        try server.configuration.write("", to: "clients.conf")
        server.program.signal(SIGHUP)
        _ = try await server.program.line(with: "no client is left in the files")
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
    }

    @Test(.needsRoot)
    func `keeps root's privilege in a process that ends with the server, however that ends`() async throws {
        for signal in [SIGTERM, SIGKILL] {
            let server = try await Server(clients: "[DEFAULT]\n")
            let helper = try Self.helper(of: server)
            let output = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(helper)/fd/2")
            #expect(output == "/dev/null", "nothing that waits for the end of our output waits for it")
            server.program.signal(signal)
            _ = try await server.program.ending()
            try await waitUntil("the end of the helper") { kill(helper, 0) != 0 }
        }
    }

    @Test func `that is asked for while the server starts does no harm`() async throws {
        let directory = try TemporaryDirectory(["clients.conf": "[DEFAULT]\n"])
        let server = try RunningProgram(
            Place.program("mandos"), Server.options(in: directory) + ["--no-dbus", "--debuglevel", "INFO"])
        // Until the server ignores or catches the signal, the kernel would end it.
        try await waitUntil("that SIGHUP does no harm") {
            RunningProgram.process(server.processID, has: .ignored, for: SIGHUP)
                || RunningProgram.process(server.processID, has: .caught, for: SIGHUP)
        }
        try await waitUntil("a server that serves", details: { server.errors }) {
            for _ in 0..<5 {
                server.signal(SIGHUP)
                try await Task.sleep(for: .milliseconds(1))
            }
            return server.errors.contains(" serving")
        }
        server.signal(SIGTERM)
        #expect(try await server.ending() == .exit(status: 0), "\(server.errors)")
    }
}
