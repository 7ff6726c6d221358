import Foundation
import Glibc
import TestSupport
import Testing

/// The server as a whole: checks, state, and what a crash does to both.
@Suite struct `The dead man's switch` {
    private static let secret = Data("secret".utf8)

    /// Whether the client gets its secret now.
    private func isServed(_ keys: Keys, _ server: Server) async throws -> Bool {
        let trial = try await run(
            Place.program("mandos-keygen"), ["--dir", keys.directory.path, "--test", "--connect", server.address])
        if trial.status != 0 { #expect(trial.errors.contains("it has no secret for us"), "\(trial.errors)") }
        return trial.status == 0
    }

    private func section(
        _ keys: Keys, checker: String, timeout: String = "PT2S", _ rest: String = ""
    ) async throws -> String {
        try await keys.section("foo", password: Self.secret)
            + "timeout = \(timeout)\nextended_timeout = PT1S\ninterval = PT1S\nchecker = \(checker)\n\(rest)"
    }

    @Test func `keeps a client that is alive, and cuts off one that is not`() async throws {
        let alive = try await Keys.make()
        let dead = try await Keys.make()
        let clients =
            // A secret that is sent sets the end of the lease to extended_timeout from then.
            try await section(alive, checker: "true", timeout: "PT1H").replacing("[foo]", with: "[alive]")
            .replacing("extended_timeout = PT1S", with: "extended_timeout = PT1H")
            + section(dead, checker: "false").replacing("[foo]", with: "[dead]")
        let bus = try await TestBus()
        let server = try await started(clients, on: bus)
        let first = try await bus.properties(of: "alive")["Expires"] ?? ""
        let line = try await server.program.line(with: "client disabled")
        #expect(line.contains("client.name=dead") && line.contains("warning"))
        #expect(try await !isServed(dead, server))
        #expect(try await isServed(alive, server))
        // Each check that succeeds puts off the end of its time.
        for _ in 0..<2 {
            let before = try await bus.properties(of: "alive")["Expires"] ?? ""
            #expect(before >= first)
            try await waitUntil("a later end", details: { server.program.errors }) {
                try await bus.properties(of: "alive")["Expires"] ?? "" > before
            }
        }
        #expect(try await isServed(alive, server))
        #expect(!server.program.errors.contains("client.name=alive reason=not seen"))
    }

    @Test func `fills in the checker so that no value breaks out of the shell`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        // The checker runs as another user.
        try directory.setMode(0o777)
        let proof = directory.path + "/proof"
        let host =
            "host = x'; touch \(directory.path)/broken; echo '$(touch \(directory.path)/broken)`touch \(directory.path)/broken`\n"
        let checker = "printf '%%%%s\\n' %%(host)s >\(proof)"
        let clients = try await section(keys, checker: checker, timeout: "PT1M").replacing("host = foo\n", with: host)
        let server = try await Server(clients: clients)
        _ = try await server.program.line(with: "checker ended")
        let written = String(decoding: directory.contents(of: "proof") ?? Data(), as: UTF8.self)
        #expect("host = " + written == host)
        #expect(!directory.contains("broken"))
    }

    @Test func `ends a checker that hangs, and all that it started, with the client's time and with the server`()
        async throws
    {
        let keys = try await Keys.make()
        let marker = "\(Int.random(in: 100_000...999_999))"
        let checker = "trap '' TERM; yes \(marker) & sleep \(marker)"
        let server = try await Server(clients: section(keys, checker: checker))
        _ = try await server.program.line(with: "client disabled")
        try await waitUntil("the end of both") { try processes(with: marker) == 0 }

        let second = try await Server(
            clients: section(keys, checker: checker).replacing("timeout = PT2S", with: "timeout = PT1H"))
        try await waitUntil("both processes of the checker") { try processes(with: marker) >= 2 }
        second.program.signal(SIGTERM)
        #expect(try await second.program.ending() == .exit(status: 0))
        try await waitUntil("the end of both") { try processes(with: marker) == 0 }
    }

    /// How many processes have `marker` in their arguments.
    private func processes(with marker: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { name in
            guard Int(name) != nil else { return false }
            let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline") ?? Data()
            return String(decoding: line, as: UTF8.self).contains(marker)
        }.count
    }

    @Test(.needsRoot)
    func `goes on as another user, who cannot become root again`() async throws {
        let keys = try await Keys.make()
        // Root's groups go too.
        let directory = try await TemporaryDirectory(["clients.conf": section(keys, checker: "id -u", timeout: "PT1H")])
        let server = try await Server(
            running: RunningProgram(
                "/usr/bin/setpriv",
                ["--groups=4,24", Place.program("mandos"), "--no-dbus", "--debuglevel", "DEBUG"]
                    + Server.options(in: directory)), in: directory)
        let status = try String(contentsOfFile: "/proc/\(server.program.processID)/status", encoding: .utf8)
        let ids = try #require(status.firstMatch(of: /Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)/))
        #expect(Set([ids.output.1, ids.output.2, ids.output.3, ids.output.4]).count == 1)
        #expect(ids.output.1 != "0")
        #expect(status.contains(/CapPrm:\s+0000000000000000\n/))
        #expect(status.contains(/Groups:\s*\n/))
        #expect(try await isServed(keys, server))
    }

    @Test func `does not begin afresh when its state is damaged, unless it is told to`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(section(keys, checker: "true"), to: "clients.conf")
        try directory.write("this is no database, but long enough to look at", to: "clients.sqlite")
        let options = Server.options(in: directory) + ["--no-dbus"]
        let refused = try await run(Place.program("mandos"), options)
        #expect(refused.status == 71)
        #expect(refused.errors.contains("clients.sqlite is damaged"))
        let server = try RunningProgram(Place.program("mandos"), options + ["--no-restore", "--debuglevel", "INFO"])
        _ = try await server.line(with: " serving")
        #expect(directory.contains("clients.sqlite.~1~"))
    }
}
