import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `Under systemd, the server` {
    private static let password = Data("secret".utf8)

    /// The socket of a service manager, to which the server reports its state.
    private final class NotifySocket {
        private let directory: TemporaryDirectory
        private let socket: UnixSocket
        private var all = ""
        var path: String { socket.path }

        init() throws {
            directory = try TemporaryDirectory()
            socket = try UnixSocket(at: directory.path + "/notify")
            // The server writes as another user.
            try directory.setMode(0o711)
            try directory.setMode(0o777, of: "notify")
        }

        /// Waits until `text` has come `count` times; returns everything that has come.
        func news(with text: String, times count: Int = 1) async throws -> String {
            try await eventually(text, details: { all }) {
                while let message = socket.receive() { all += String(decoding: message, as: UTF8.self) + "\n" }
                return all.ranges(of: text).count >= count ? all : nil
            }
        }
    }

    @Test func `says when it is ready, reloads, is alive, and stops`() async throws {
        let keys = try await Keys.make()
        let manager = try NotifySocket()
        let server = try await Server(
            clients: keys.section("foo", password: Self.password),
            environment: ["NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "100000"])
        let first = try await manager.news(with: "STATUS=")
        #expect(first.hasPrefix("READY=1\nSTATUS=serving 1 clients\n"))
        #expect(try await manager.news(with: "WATCHDOG=1\n", times: 3).contains("WATCHDOG=1"))
        server.program.signal(SIGHUP)
        let second = try await manager.news(with: "READY=1\n", times: 2)
        #expect(second.contains(/RELOADING=1\nMONOTONIC_USEC=\d+\n/))
        server.program.signal(SIGTERM)
        _ = try await manager.news(with: "STOPPING=1")
        #expect(try await server.program.ending() == .exit(status: 0))
    }

    @Test(.needsRoot)
    func `says that its helper has ended, and serves on without reloads until it is restarted`() async throws {
        let keys = try await Keys.make()
        let manager = try NotifySocket()
        let bus = try await TestBus()
        let server = try await Server(
            clients: keys.section("foo", password: Self.password), environment: ["NOTIFY_SOCKET": manager.path],
            bus: bus)
        _ = try await server.program.line(with: "on the bus")
        #expect(try await bus.control(["--status"]).status == 0)
        kill(try #require(server.program.children.first), SIGKILL)
        _ = try await manager.news(with: "STATUS=serving 1 clients; the configuration cannot be reloaded")
        #expect(try await server.program.line(with: "mandos-config has ended").contains(" error "))
        let status = try await bus.control(["--status"])
        #expect(status.status == 1)
        #expect(status.output.contains("\nProblem: the configuration cannot be reloaded"))
        let reload = try await bus.control(["--reload"])
        #expect(reload.status == 1)
        #expect(reload.errors.contains("restart the server"), "\(reload.errors)")
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
    }

    @Test func `does not say that it is alive when it hangs`() async throws {
        let manager = try NotifySocket()
        let server = try await Server(
            clients: "[DEFAULT]\n", environment: ["NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "100000"])
        _ = try await manager.news(with: "WATCHDOG=1\n")
        server.program.signal(SIGSTOP)
        try await Task.sleep(for: .milliseconds(300))
        let before = try await manager.news(with: "WATCHDOG=1\n").ranges(of: "WATCHDOG=1").count
        try await Task.sleep(for: .milliseconds(500))
        #expect(try await manager.news(with: "WATCHDOG=1\n").ranges(of: "WATCHDOG=1").count <= before + 1)
        server.program.signal(SIGCONT)
    }

    @Test func `serves on the socket that systemd gives it`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Self.password), to: "clients.conf")
        let port = freePort()
        let activator = try RunningProgram(
            "/usr/bin/systemd-socket-activate",
            [
                "--listen=[::1]:\(port)", Place.program("mandos"),
            ] + Server.options(in: directory) + ["--no-dbus", "--no-zeroconf", "--debuglevel", "INFO"])
        _ = try await activator.line(with: "Listening on")
        let client = try client(keys, ["[::1]:\(port)"])
        #expect(try await client.ending() == .exit(status: 0), "\(activator.errors)")
        #expect(client.output == Self.password)
        #expect(try await activator.line(with: " serving").hasSuffix("address=::1 port=\(port)"))
    }

    @Test(.needsRoot)
    func `writes to the journal, each fact in a field`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo bar", password: Self.password)
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            mkdir -p /run/systemd/journal
            listen /run/systemd/journal/socket /run/journal
            exec 3>/run/err
            JOURNAL_STREAM=$(stat -c %d:%i /run/err) "$0" "$@" --foreground --debuglevel INFO 2>&3 & server=$!
            wait_for /run/journal 'MESSAGE=serving'
            \(Place.program("mandos-client")) --connect=::1:4711 \(keys.clientOptions.joined(separator: " "))
            wait_for /run/journal 'MESSAGE=secret sent'
            kill "$server"; wait "$server"
            cat /run/journal >&2
            [ ! -s /run/err ]
            """, clients: section)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret")
        for field in [
            "PRIORITY=6", "SYSLOG_IDENTIFIER=mandos", "MANDOS_SUBSYSTEM=request", "MANDOS_CLIENT_NAME=foo bar",
            "MANDOS_KEY_ID=",
        ] {
            #expect(result.errors.contains("\n\(field)"), "\(result.errors)")
        }
    }
}
