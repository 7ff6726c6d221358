import Foundation
import Glibc
import TestSupport
import Testing

/// What anybody on the network can make the server write into its log.
@Suite struct `A stranger` {
    @Test func `causes a few lines, and then a count`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo"), on: bus)
        let keys = try await Keys.make()
        let strangers = try (0..<3).map { _ in try client(keys, [server.address], ["--retry=0.1"]) }
        defer { withExtendedLifetime(strangers) {} }
        func refusals() async throws -> Int {
            let output = try await bus.control(["--status"]).output
            return output.firstMatch(of: /Refused, Unknown key: (\d+)/).flatMap { Int($0.output.1) } ?? 0
        }
        var lines: Int { server.program.errors.ranges(of: "warning request: secret refused key.id=").count }
        try await waitUntil("requests without lines", details: { server.program.errors }) {
            try await refusals() > lines + 20
        }
        for stranger in strangers { stranger.signal(SIGKILL) }
        for stranger in strangers { _ = try await stranger.ending() }
        let all = try await refusals()
        server.program.signal(SIGTERM)
        #expect(try await server.program.ending() == .exit(status: 0))
        // A request may have come after the last look at the counter.
        let reports = server.program.errors.matches(of: /more unknown keys in the last minute count=(\d+)/)
        let reported = reports.reduce(0) { $0 + (Int($1.output.1) ?? 0) }
        #expect(reported > 0 && lines + reported >= all, "\(lines) lines, \(reported) reported, \(all) in all")
        #expect(server.program.errors.contains("warning request: secret refused, and to more unknown keys"))
    }

    @Test func `whose handshakes fail causes a few lines, and then a count, too`() async throws {
        let server = try await Server(clients: section("foo"))
        let count = 300
        for _ in 0..<count {
            let connection = try FakeServer.connect(to: server.port)
            _ = FakeServer.send(Array("GET / HTTP/1.0\r\n\r\n".utf8), to: connection)
            close(connection)
        }
        // The server accepts connections in order.
        let keys = try await Keys.make()
        let last = try client(keys, ["127.0.0.1:\(server.port)"])
        _ = try await last.line(with: "it has no secret for us")
        server.program.signal(SIGTERM)
        #expect(try await server.program.ending() == .exit(status: 0))
        let lines = server.program.errors.ranges(of: "debug tls: connection ended peer.address").count
        let reports = server.program.errors.matches(of: /before the handshake in the last minute count=(\d+)/)
        let reported = reports.reduce(0) { $0 + (Int($1.output.1) ?? 0) }
        #expect(reported > 0 && lines + reported >= count, "\(lines) lines, \(reported) reported")
    }
}
