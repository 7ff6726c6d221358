import Foundation
import GRDB
import Glibc
import TestSupport
import Testing

@Suite struct `A crash at any moment` {
    private static let rounds = 300
    /// Each second some of them run out of time, as long as the rounds go on.
    private static let clients = 400

    @Test(.timeLimit(.minutes(15)))
    func `never undoes that a client was disabled, once that was said`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory(["clients.conf": try await clientsConf(keys)])
        var disabled: Set<String> = []
        var enabled: Set<String> = ["c0"]
        for round in 0..<Self.rounds {
            let server = try RunningProgram(
                Place.program("mandos"),
                Server.options(in: directory) + ["--no-dbus", "--debuglevel", "WARNING,server=INFO,request=ERROR"])
            // Some servers are killed before they serve.
            if round % 4 == 3 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 5...60)))
            } else {
                let port = try await Server(running: server, in: directory).port
                if round % 25 == 24 && !enabled.contains("c0") { try await expectRefusal(of: keys, at: port) }
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
        // The first client's time ran out long ago; a kill may have kept the server from saying so.
        #expect(!enabled.contains("c0"))
    }

    /// Clients that run out of time one after the other; the first one has real keys.
    private func clientsConf(_ keys: Keys) async throws -> String {
        let first = try await keys.section("c0", password: Data("secret".utf8))
        let rest = "interval = PT1S\nchecker = false\n"
        return first + rest + "timeout = PT2S\n"
            + (1..<Self.clients).map {
                section("c\($0)", key: $0, checker: nil, rest + "timeout = PT\(2 + $0 / 10)S\n")
            }.joined()
    }

    private func expectRefusal(of keys: Keys, at port: Int) async throws {
        let client = try client(keys, ["::1:\(port)"])
        _ = try await client.line(with: "it has no secret for us")
        #expect(client.output.isEmpty)
    }

    /// The clients that the saved state says are enabled. Reads a copy: the server must find what the crash left.
    private func enabledClients(in directory: TemporaryDirectory) throws -> Set<String> {
        let copy = try TemporaryDirectory()
        for suffix in ["", "-journal"] {
            let name = "clients.sqlite" + suffix
            if let contents = directory.contents(of: name) { try copy.write(contents, to: name) }
        }
        return try DatabaseQueue(path: copy.path + "/clients.sqlite").read { database in
            guard try database.tableExists("client") else { return [] }
            return try String.fetchSet(database, sql: "SELECT name FROM client WHERE until_wall IS NOT NULL")
        }
    }
}
