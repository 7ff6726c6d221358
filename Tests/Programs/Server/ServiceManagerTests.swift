import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `Under systemd, the server` {
    private static let password = Data("secret".utf8)

    /// Where a service manager listens for news.
    private final class NotifySocket {
        private let directory: TemporaryDirectory
        private let descriptor: Int32
        private var all = ""
        var path: String { directory.path + "/notify" }

        init() throws {
            directory = try TemporaryDirectory()
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
            let result = unsafe withUnsafePointer(to: address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(result == 0)
            // The server writes as another user.
            try FileManager.default.setAttributes([.posixPermissions: 0o711], ofItemAtPath: directory.path)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        }

        deinit { close(descriptor) }

        /// Everything that came, as soon as `text` has come `count` times.
        func news(with text: String, times count: Int = 1) async throws -> String {
            var buffer = [UInt8](repeating: 0, count: 4096)
            for _ in 0..<3000 {
                let size = unsafe recv(descriptor, &buffer, buffer.count, 0)
                if size > 0 { all += String(decoding: buffer[..<size], as: UTF8.self) + "\n" }
                if all.ranges(of: text).count >= count { return all }
                if size <= 0 { try await Task.sleep(for: .milliseconds(5)) }
            }
            throw TookTooLong(goal: text, details: all)
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
                "--listen=[::1]:\(port)", Place.program("mandos"), "--configdir", directory.path, "--statedir",
                directory.path, "--foreground", "--no-dbus", "--no-zeroconf", "--debuglevel", "INFO",
            ])
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
