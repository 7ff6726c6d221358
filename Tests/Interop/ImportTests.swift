import Foundation
import Glibc
import TestSupport
import Testing

/// `packaging/import-reference-state`, which converts the state that the reference saves when it stops.
@Suite(.needsReference, .needsRoot, .serialized)
struct `Importing the state of the reference implementation` {
    private static let password = Data("secret".utf8)

    /// A state saved by the reference: two clients, of which it has disabled one.
    private struct Saved {
        let clients: String
        let alive: Keys
        let dead: Keys
        let pickle: Data

        static func make() async throws -> Saved {
            let alive = try await Keys.make()
            let dead = try await Keys.make()
            let clients =
                try await alive.section("alive", password: password) + "checker = true\ninterval = PT1S\n\n"
                + dead.section("dead", password: password) + "checker = false\ninterval = PT1S\ntimeout = PT1S\n"
            var errors = ""
            // Sometimes it fails to save: when it removes gpg's home while gpg-agent does the same.
            for _ in 0..<5 {
                let theirs = try await Reference.Server(clients: clients, usesBus: true)
                _ = try await theirs.program.line(with: "Checker for alive succeeded")
                try await waitUntil("the end of the dead client's time", details: { theirs.program.errors }) {
                    try await theirs.bus.control(["--is-enabled", "dead"]).status == 1
                }
                theirs.program.signal(SIGTERM)
                let ending = try await theirs.program.ending()
                errors = theirs.program.errors
                let path = theirs.directory.path + "/state/clients.pickle"
                guard ending == .exit(status: 0), let pickle = FileManager.default.contents(atPath: path) else {
                    continue
                }
                return Saved(clients: clients, alive: alive, dead: dead, pickle: pickle)
            }
            throw NothingSaved(errors: errors)
        }

        struct NothingSaved: Error { let errors: String }
    }

    /// The directories, as they are when the reference has stopped.
    private struct Migration {
        let configuration: TemporaryDirectory
        let state: TemporaryDirectory

        init(clients: String = "[DEFAULT]\n", pickle: Data) throws {
            configuration = try TemporaryDirectory(["clients.conf": clients])
            state = try TemporaryDirectory()
            try state.write(pickle, to: "clients.pickle")
        }

        func importState(_ options: [String] = []) async throws -> (status: Int32, output: String, errors: String) {
            try await runForText(
                Place.package + "/packaging/import-reference-state",
                ["--configdir", configuration.path, "--statedir", state.path] + options)
        }

        func files() throws -> [String] { try state.names() }
    }

    @Test func `leaves a disabled client disabled, and gives an enabled one its secret`() async throws {
        let saved = try await Saved.make()
        let migration = try Migration(clients: saved.clients, pickle: saved.pickle)
        let result = try await migration.importState()
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "import-reference-state: imported 2 clients: 1 enabled, 1 disabled\n")
        #expect(try migration.files() == ["clients.pickle", "clients.sqlite"])

        let server = try await Server(clients: saved.clients, options: ["--statedir", migration.state.path])
        let alive = try client(saved.alive, [server.address])
        #expect(try await alive.ending() == .exit(status: 0), "\(alive.errors)")
        #expect(alive.output == Self.password)

        let dead = try client(saved.dead, [server.address])
        _ = try await dead.line(with: "it has no secret for us")
        let refusal = try await server.program.line(with: "secret refused")
        #expect(refusal.contains("client.name=dead") && refusal.contains("reason=client is disabled"))
        #expect(dead.output.isEmpty)

        let whileInUse = try await migration.importState(["--force"])
        #expect(whileInUse.status == 73)
        #expect(whileInUse.errors.contains("it is in use; stop the server first"), "\(whileInUse.errors)")
    }

    @Test func `replaces what we have saved only by force, and keeps it then`() async throws {
        let saved = try await Saved.make()
        let migration = try Migration(clients: saved.clients, pickle: saved.pickle)
        #expect(try await migration.importState().status == 0)
        let refused = try await migration.importState()
        #expect(refused.status == 73)
        #expect(refused.errors.contains("it has clients, 2; --force puts it aside"), "\(refused.errors)")
        #expect(try migration.files() == ["clients.pickle", "clients.sqlite"])
        #expect(try await migration.importState(["--force"]).status == 0)
        #expect(try migration.files() == ["clients.pickle", "clients.sqlite", "clients.sqlite.~1~"])
    }

    @Test func `refuses a truncated state, and writes nothing`() async throws {
        let saved = try await Saved.make()
        for count in [0, 1, saved.pickle.count / 2, saved.pickle.count - 1] {
            let migration = try Migration(clients: saved.clients, pickle: saved.pickle.prefix(count))
            let result = try await migration.importState()
            #expect(result.status == 65, "\(count) bytes: \(result.errors)")
            #expect(result.errors.contains("no saved state"), "\(result.errors)")
            #expect(try migration.files() == ["clients.pickle"])
        }
    }

    @Test func `runs nothing that a pickle asks for, and names it`() async throws {
        let directory = try TemporaryDirectory()
        let mark = directory.path + "/was-run"
        for pickle in [
            "cos\nsystem\n(S'touch \(mark)'\ntR.",
            "(S'touch \(mark)'\nios\nsystem\n.",
            "(cos\nsystem\nS'touch \(mark)'\no.",
        ] {
            let migration = try Migration(pickle: Data(pickle.utf8))
            let result = try await migration.importState()
            #expect(result.status == 65)
            #expect(result.errors.contains("it asks for os.system"), "\(result.errors)")
            #expect(try migration.files() == ["clients.pickle"])
        }
        #expect(!directory.contains("was-run"))
    }
}
