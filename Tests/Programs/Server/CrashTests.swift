import Foundation
import GRDB
import Glibc
import TestSupport
import Testing

@Suite struct `A crash at any moment` {
    private static let rounds = 300
    /// Each second some of them run out of time, as long as the rounds go on.
    private static let clients = 400

    @Test(.timeLimit(.minutes(5)))
    func `never undoes that a client was disabled, once that was said`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        let real = try await keys.section("c0", password: Data("secret".utf8))
        let rest = "interval = PT1S\nchecker = false\n"
        func section(_ number: Int, seconds: Int) -> String {
            number == 0
                ? real + rest + "timeout = PT\(seconds)S\n"
                : """
                [c\(number)]
                key_id = \(String(repeating: "7", count: 56))\(10_000_000 + number)
                secret = c2VjcmV0
                timeout = PT\(seconds)S
                \(rest)

                """
        }
        try directory.write(
            (0..<Self.clients).map { section($0, seconds: 2 + $0 / 10) }.joined(), to: "clients.conf")
        let options = [
            "--configdir", directory.path, "--statedir", directory.path, "--foreground", "--no-dbus", "--debuglevel",
            "WARNING,server=INFO,request=ERROR",
        ]
        var disabled: Set<String> = []
        var enabled: Set<String> = ["c0"]
        var port: Int?
        for round in 0..<Self.rounds {
            let server = try RunningProgram(Place.program("mandos"), options)
            // Some never come as far as to serve.
            if round % 4 == 3 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 5...60)))
            } else {
                let line = try await server.line(with: " serving")
                port = line.firstMatch(of: /port=(\d+)/).flatMap { Int($0.output.1) }
                if round % 25 == 24 && !enabled.contains("c0") {
                    let client = try client(keys, ["::1:\(try #require(port))"])
                    _ = try await client.line(with: "it has no secret for us")
                    #expect(client.output.isEmpty)
                }
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...40)))
            }
            server.signal(SIGKILL)
            _ = try await server.ending()
            disabled.formUnion(
                server.errors.matches(of: #/client disabled client.name=(c\d+) /#).map { String($0.output.1) })
            enabled = try enabledClients(in: directory)
            #expect(enabled.isDisjoint(with: disabled), "after round \(round)")
        }
        #expect(disabled.count > Self.clients / 4, "too few clients ran out of time to mean anything")
        // The first one, of whose end a kill may have kept the server from telling.
        #expect(!enabled.contains("c0"))
    }

    /// Those that the state says are enabled. Looks at a copy, so that the server finds what the crash left.
    private func enabledClients(in directory: TemporaryDirectory) throws -> Set<String> {
        let copy = try TemporaryDirectory()
        for suffix in ["", "-wal"] {
            let file = "/clients.sqlite" + suffix
            if let contents = FileManager.default.contents(atPath: directory.path + file) {
                try copy.write(contents, to: String(file.dropFirst()))
            }
        }
        return try DatabaseQueue(path: copy.path + "/clients.sqlite").read { database in
            guard try database.tableExists("client") else { return [] }
            return try String.fetchSet(database, sql: "SELECT name FROM client WHERE until_wall IS NOT NULL")
        }
    }
}
