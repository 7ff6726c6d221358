import Foundation
import TestSupport
import Testing

/// What checkers and monitors that were made for the reference get from our server.
@Suite(.needsReference, .needsRoot)
struct `Beside the reference implementation` {
    private static let clients = section(
        "client1", checker: "true",
        """
        fingerprint = \(String(repeating: "ab", count: 20))
        host = h.example
        interval = PT36H
        timeout = P2D
        approval_delay = PT1.5S

        """.replacing("PT1.5S", with: "PT90S")
    ).replacing(keyID(1), with: String(repeating: "ab", count: 32))

    private static let fields = [
        "approval_delay", "approval_duration", "created", "enabled", "expires", "key_id", "fingerprint", "host",
        "interval",
        "last_approval_request", "last_checked_ok", "last_enabled", "name", "timeout", "dbus_object_path",
    ]

    /// What a checker sees at its first run, a line for each field, with every point in time as `TIME`.
    private static func expansions(on bus: TestBus) async throws -> [Substring] {
        let directory = try TemporaryDirectory()
        // The checker runs as another user.
        try directory.setMode(0o777)
        let values = fields.map { "\($0)=%(\($0))s" }.joined(separator: " ")
        let file = directory.path + "/seen"
        // The end is part of the line, so that a half-written file is not taken for the whole.
        let checker = "printf '%%s\\n' \(values) end >\(file)"
        #expect(try await bus.control(["--checker", checker, "client1"]).status == 0)
        #expect(try await bus.control(["--start-checker", "client1"]).status == 0)
        return try await eventually("what the checker sees") {
            let text = String(decoding: directory.contents(of: "seen") ?? Data(), as: UTF8.self)
            guard text.hasSuffix("end\n") else { return nil }
            return text.replacing(#/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?\n/#, with: "TIME\n").split(separator: "\n")
        }
    }

    @Test func `a checker sees the same values`() async throws {
        let bus = try await TestBus()
        let ours = try await started(Self.clients, on: bus)
        let theirs = try await Reference.Server(clients: Self.clients, usesBus: true)
        try await waitUntil("the reference's server on the bus") {
            try await theirs.bus.control(["--check"]).status == 0
        }
        let (our, their) = (try await Self.expansions(on: bus), try await Self.expansions(on: theirs.bus))
        #expect(our == their)
        #expect(our.count == Self.fields.count + 1)
        #expect(ours.program.isRunning)
    }

    @Test func `a monitor that is there first shows our clients`() async throws {
        let bus = try await TestBus()
        let terminal = try Terminal()
        let monitor = try RunningProgram(
            "/usr/bin/python3", [Reference.root + "/usr/sbin/mandos-monitor"],
            environment: bus.environment.merging(["TERM": "linux", "PYTHONWARNINGS": "ignore"]) { $1 },
            terminal: terminal)
        // It listens then.
        try await Task.sleep(for: .seconds(2))
        #expect(monitor.isRunning, "\(monitor.errors)")
        let server = try await started(Self.clients, on: bus)
        try await waitUntil("the client in the monitor", details: { monitor.errors }) {
            String(decoding: monitor.output, as: UTF8.self).contains("client1")
        }
        #expect(server.program.isRunning)
    }
}
