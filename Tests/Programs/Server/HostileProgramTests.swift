import Foundation
import Glibc
import TestSupport
import Testing

@Suite(.needsRoot) struct `A hostile disk` {
    /// Traces a process, and injects what `inject` says into fdatasync(2).
    private func tracer(of process: Int32, inject: String) async throws -> RunningProgram {
        let tracer = try RunningProgram(
            "/usr/bin/strace",
            ["-f", "-qq", "-p", "\(process)", "-e", "trace=fdatasync", "-e", "inject=fdatasync:\(inject)", "-o", "/dev/null"])
        let tasks = "/proc/\(process)/task"
        try await waitUntil("a tracer", details: { tracer.errors }) {
            try FileManager.default.contentsOfDirectory(atPath: tasks).allSatisfy { task in
                let status = FileManager.default.contents(atPath: "\(tasks)/\(task)/status") ?? Data()
                return !String(decoding: status, as: UTF8.self).contains("TracerPid:\t0\n")
            }
        }
        return tracer
    }

    /// The fifth fdatasync of a commit is that of the journal after it was truncated: by then, the change is in the file.
    @Test(arguments: [false, true])
    func `fails at the last moment, and what was refused is not there after kill -9`(isDisabledAgain: Bool) async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo", "timeout = PT1H\n"), on: bus)
        #expect(try await bus.control(["--disable", "foo"]).status == 0)
        let tracer = try await tracer(of: server.program.processID, inject: "error=EIO:when=5")
        #expect(try await bus.control(["--enable", "foo"]).status == 1)
        tracer.signal(SIGTERM)
        _ = try await tracer.ending()
        if isDisabledAgain { #expect(try await bus.control(["--disable", "foo"]).status == 0) }
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 1)
    }

    @Test func `is slow for one operator, and another's request takes effect at once`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let foo = try await keys.section("foo", password: Data("secret".utf8)) + "checker = true\ntimeout = PT1H\n"
        let server = try await started(foo + section("bar", key: 2, "enabled = no\n"), on: bus)
        let tracer = try await tracer(of: server.program.processID, inject: "delay_exit=1000000")
        let enabling = try RunningProgram(
            Place.program("mandos-ctl"), ["--enable", "bar"], environment: bus.environment)
        usleep(300_000)
        let disabling = try RunningProgram(
            Place.program("mandos-ctl"), ["--disable", "foo"], environment: bus.environment)
        usleep(700_000)
        let client = try client(keys, [server.address])
        _ = try await client.line(with: "it has no secret for us")
        tracer.signal(SIGTERM)
        _ = try await tracer.ending()
        _ = try await enabling.ending()
        _ = try await disabling.ending()
    }
}
