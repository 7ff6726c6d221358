import Foundation
import Glibc
import TestSupport
import Testing

/// Checkers are foreign programs: which environment they get, and which harm to the server they cannot do.
@Suite struct `A checker` {
    private func server(checker: String) async throws -> Server {
        try await Server(
            clients: section("foo", checker: checker.replacing("%", with: "%%%%"), "interval = PT1S\n"),
            environment: ["NOTIFY_SOCKET": "/nonexistent", "JOURNAL_STREAM": "1:1", "KEPT": "yes"])
    }

    @Test func `starts with nothing of ours but the environment`() async throws {
        let server = try await server(
            checker: "pwd; readlink /proc/self/fd/0; ls /proc/self/fd; grep -E 'Sig(Ign|Blk)' /proc/self/status; env")
        let line = try await server.program.line(with: "checker output")
        let found = try #require(
            line.firstMatch(of: #/output=/ /dev/null 0 1 2 3 SigBlk:\s(\w+) SigIgn:\s(\w+) /#), "3 is ls's; \(line)")
        // The C library keeps two signals for itself.
        let signals: UInt64 = 0x7FFF_FFFF
        #expect([found.output.1, found.output.2].allSatisfy { UInt64($0, radix: 16).map { $0 & signals } == 0 })
        #expect(line.contains("KEPT=yes"))
        for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "LIBDISPATCH_LOG"] { #expect(!line.contains(name)) }
    }

    @Test func `that floods its output still ends, and little of that is kept`() async throws {
        let server = try await server(checker: "yes xxxxxxx | head -c 20000000; exit 3")
        let line = try await server.program.line(with: "checker ended")
        #expect(line.contains("exit status 3"))
        let output = try await server.program.line(with: "checker output")
        #expect(output.utf8.count < 4500 && output.hasSuffix("xxx xxxxxxx"))
    }

    @Test func `has no power over the terminal of who reads the log`() async throws {
        // CSI and NEL of C1, a line separator, a right-to-left override, and a byte that is no UTF-8.
        let server = try await server(checker: #"printf 'a\033\302\233\302\205\342\200\250\342\200\256\377b'"#)
        let line = try await server.program.line(with: "checker output")
        #expect(line.hasSuffix("output=a\\u{1b}\\u{9b}\\u{85}\\u{2028}\\u{202e}\u{FFFD}b"), "\(line)")
    }

    @Test func `that leaves a daemon behind has ended all the same`() async throws {
        let marker = "\(Int.random(in: 1_000_000...9_999_999))"
        let server = try await server(checker: "setsid sleep 30.\(marker) & echo started")
        try await server.program.says("ending=exit status 0", times: 2)
        _ = try await run("/usr/bin/pkill", ["-f", "sleep 30.\(marker)"])
    }

    @Test func `that is killed counts as a failure`() async throws {
        let server = try await server(checker: "kill -KILL $$")
        #expect(try await server.program.line(with: "checker ended").contains("ending=signal 9"))
    }

    @Test func `is never started twice at once`() async throws {
        let directory = try TemporaryDirectory()
        // The checker runs as another user.
        try directory.setMode(0o777)
        let file = directory.path + "/story"
        let server = try await server(checker: "echo begin >>\(file); sleep 1.2; echo end >>\(file)")
        let story = try await eventually("three checks", details: { server.program.errors }) {
            let lines = String(decoding: directory.contents(of: "story") ?? Data(), as: UTF8.self).split(
                separator: "\n")
            return lines.count >= 6 ? lines : nil
        }
        #expect(story.prefix(6) == ["begin", "end", "begin", "end", "begin", "end"])
        #expect(server.program.isRunning)
    }

    @Test func `that cannot be started for lack of processes costs its client nothing`() async throws {
        let directory = try TemporaryDirectory()
        // The server and its checkers look into it as another user.
        try directory.setMode(0o755)
        let shortage = directory.path + "/shortage"
        let source = try directory.write(
            """
            #define _GNU_SOURCE
            #include <dlfcn.h>
            #include <errno.h>
            #include <spawn.h>
            #include <stdlib.h>
            #include <unistd.h>
            int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                            const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
              if (!access(getenv("MANDOS_TEST_SHORTAGE"), F_OK)) return EAGAIN;
              return ((__typeof__(&posix_spawn))dlsym(RTLD_NEXT, "posix_spawn"))(pid, path, actions, attributes, argv, envp);
            }
            """, to: "shortage.c")
        let library = directory.path + "/shortage.so"
        let compiling = try await run("/usr/bin/env", ["clang", "-shared", "-fPIC", "-o", library, source])
        try #require(compiling.status == 0, "\(compiling.errors)")
        let server = try await Server(
            clients: Self.crowd(1, checker: "true"),
            environment: ["LD_PRELOAD": library, "MANDOS_TEST_SHORTAGE": shortage])
        _ = try await server.program.line(with: "checker ended")
        try directory.write("", to: "shortage")
        let failure = try await server.program.line(with: "checker not started")
        #expect(failure.contains("error checker") && failure.contains("client.name=c0"))
        try FileManager.default.removeItem(atPath: shortage)
        try await expectMoreChecks(of: server.program)
        #expect(!server.program.errors.contains("client disabled"))
    }

    @Test(.needsRoot)
    func `goes on after a time in which there were neither processes nor threads left`() async throws {
        let user = freeUserID()
        let asUser = ["--reuid=\(user)", "--regid=\(user)", "--clear-groups"]
        let directory = try TemporaryDirectory()
        let clients = try directory.write(Self.crowd(1, checker: "true"), to: "clients.conf")
        for path in [directory.path, clients] {
            try FileManager.default.setAttributes([.ownerAccountID: user], ofItemAtPath: path)
        }
        let server = try RunningProgram(
            "/usr/bin/setpriv",
            asUser + [
                Place.program("mandos")
            ] + Server.options(in: directory) + ["--no-dbus", "--debuglevel", "DEBUG"])
        func setLimit(_ limit: String) async throws {
            let result = try await run(
                "/usr/bin/setpriv",
                asUser + ["prlimit", "--pid", "\(server.processID)", "--nproc=\(limit):"])
            try #require(result.status == 0, "\(result.errors)")
        }
        _ = try await server.line(with: "checker ended")
        try await setLimit("1")
        // Whether it can say so depends on the threads that it has.
        try await Task.sleep(for: .seconds(2))
        try await setLimit("1000")
        try await expectMoreChecks(of: server)
        #expect(!server.errors.contains("client disabled"))
    }

    private func expectMoreChecks(of server: RunningProgram) async throws {
        let before = server.errors.ranges(of: "checker ended").count
        try await server.says("checker ended", times: before + 2)
    }

    /// Many clients, checked every second.
    private static func crowd(_ count: Int, checker: String, _ rest: String = "") -> String {
        (0..<count).map { section("c\($0)", key: $0 + 1, checker: checker, "interval = PT1S\n\(rest)\n") }.joined()
    }

    @Test func `is ended with the server even while it is being started`() async throws {
        for wait in [20, 60, 150, 300, 600] {
            let server = try await Server(clients: Self.crowd(300, checker: "exec sleep 200"))
            try await Task.sleep(for: .milliseconds(wait))
            server.program.signal(SIGTERM)
            #expect(try await server.program.ending() == .exit(status: 0))
        }
    }

    @Test func `that is ended with the server says nothing about its client`() async throws {
        let directory = try TemporaryDirectory()
        // The checker runs as another user.
        try directory.setMode(0o755)
        let hang = directory.path + "/hang"
        let clients = section("foo", checker: "if [ -e \(hang) ]; then exec sleep 1000; fi", "interval = PT1H\n")
        let bus = try await TestBus()
        let server = try await started(clients, on: bus)
        #expect(try await bus.control(["--start-checker", "foo"]).status == 0)
        try await waitUntil("a check") { try await bus.properties(of: "foo")["LastCheckerStatus"] == "0" }
        try directory.write("", to: "hang")
        #expect(try await bus.control(["--start-checker", "foo"]).status == 0)
        try await waitUntil("a checker that hangs") {
            try await ["1", "true"].contains(bus.properties(of: "foo")["CheckerRunning"])
        }
        server.program.signal(SIGTERM)
        #expect(try await server.program.ending() == .exit(status: 0))
        #expect(server.program.errors.ranges(of: "checker ended").count == 1, "\(server.program.errors)")
        #expect(!server.program.errors.contains("checker not started"))
        let next = try await Server(in: server.configuration, bus: bus)
        _ = try await next.program.line(with: "on the bus")
        let status = try await bus.properties(of: "foo")["LastCheckerStatus"]
        #expect(status == "0", "it was alive when it was checked last")
    }

    @Test func `ends when the server is killed`() async throws {
        let marker = "\(Int.random(in: 1_000_000...9_999_999))"
        let server = try await Server(clients: Self.crowd(3, checker: "sleep 300.\(marker) & sleep 300.\(marker)"))
        func count() async throws -> Int {
            try await run("/usr/bin/pgrep", ["-xf", "sleep 300.\(marker)"]).output.split(separator: UInt8(ascii: "\n"))
                .count
        }
        try await waitUntil("six programs") { try await count() == 6 }
        server.program.signal(SIGKILL)
        try await waitUntil("the end of the checkers") { try await count() == 0 }
    }

    @Test func `says nothing about its client when the process that runs the checkers is killed`() async throws {
        let server = try await Server(clients: Self.crowd(3, checker: "true"))
        try await server.program.says("ending=exit status 0", times: 3)
        try kill(server, child: "mandos-checkers")
        let ending = try await server.program.ending()
        #expect(ending == .exit(status: 71), "for systemd to start it again")
        let errors = server.program.errors
        #expect(errors.contains("the process mandos-checkers has ended, or hangs: no client can be checked"))
        #expect(!errors.contains("ending=signal") && !errors.contains("client disabled"), "\(errors)")
    }

    @Test func `never waits for long for the process that runs the checkers`() async throws {
        // Requests of this size fill its queue.
        let checker = "true " + String(repeating: "x", count: 50_000)
        let server = try await Server(clients: Self.crowd(20, checker: checker))
        try await server.program.says("ending=exit status 0", times: 20)
        let stopped = try kill(server, child: "mandos-checkers", SIGSTOP)
        defer { _ = Glibc.kill(stopped, SIGKILL) }
        #expect(try await server.program.ending() == .exit(status: 71), "for systemd to start it again")
        #expect(!server.program.errors.contains("client disabled"), "\(server.program.errors)")
    }

    @discardableResult
    private func kill(_ server: Server, child name: String, _ signal: Int32 = SIGKILL) throws -> Int32 {
        let child = try #require(
            server.program.children.first { child in
                FileManager.default.contents(atPath: "/proc/\(child)/comm") == Data("\(name)\n".utf8)
            })
        try #require(Glibc.kill(child, signal) == 0)
        return child
    }

    @Test func `that is too long for the kernel is an error, and others go on`() async throws {
        let checker = "true " + String(repeating: "x", count: 140_000)
        let long = section("long", key: 7, checker: checker, "interval = PT1S\n")
        let server = try await Server(clients: Self.crowd(1, checker: "true") + long)
        #expect(try await server.program.line(with: "checker not started").contains("Argument list too long"))
        try await expectMoreChecks(of: server.program)
    }

    @Test(arguments: [48, 56, 64, 80]) func `that cannot be started for lack of descriptors does no harm`(
        limit: Int
    ) async throws {
        let directory = try TemporaryDirectory(["clients.conf": Self.crowd(40, checker: "sleep 1")])
        let server = try RunningProgram(
            "/usr/bin/prlimit",
            ["--nofile=\(limit):\(limit)", Place.program("mandos")] + Server.options(in: directory) + [
                "--no-dbus", "--no-zeroconf", "--address", "::1", "--port", "\(freePort())", "--debuglevel",
                "INFO,checker=\(limit % 8 == 0 ? "ERROR" : "DEBUG")",
            ])
        _ = try await server.line(with: " serving")
        try await Task.sleep(for: .seconds(3))
        #expect(server.isRunning, "\(server.errors.suffix(2000))")
        server.signal(SIGTERM)
        #expect(try await server.ending() == .exit(status: 0), "\(server.errors.suffix(2000))")
    }

    @Test func `that hangs, of as many clients as there may be, costs another client nothing`() async throws {
        let hanging = Self.crowd(200, checker: "sleep 3600", "timeout = PT2H").replacing("= PT1S", with: "= PT1H")
        let living = section("living", key: 1000, "interval = PT2S\ntimeout = PT1M\n")
        let bus = try await TestBus()
        let server = try await started(hanging, on: bus)
        // Their first checks would be up to an hour away.
        #expect(try await bus.control(["--start-checker", "--all"]).status == 0)
        try server.configuration.write(hanging + living, to: "clients.conf")
        #expect(try await bus.control(["--reload"]).status == 0)
        // Every place for a checker is taken; it gets a turn when half of its timeout is over.
        try await waitUntil("a check of \"living\"", details: { String(server.program.errors.suffix(3000)) }) {
            try await bus.properties(of: "living")["LastCheckedOK"] != ""
        }
        #expect(try await bus.control(["--is-enabled", "living"]).status == 0, "\(server.program.errors.suffix(3000))")
        #expect(server.program.errors.contains("checks cannot keep up"))
    }
}
