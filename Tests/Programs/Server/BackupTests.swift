import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `mandos --backup and --restore` {
    @Test func `copy the state of a server that runs, and bring it back`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("a") + section("b", key: 2), on: bus)
        let directory = server.configuration
        func mandos(_ options: String...) async throws -> (status: Int32, output: String, errors: String) {
            try await runForText(Place.program("mandos"), Server.options(in: directory).dropLast() + options)
        }
        let backups = try TemporaryDirectory()
        let file = backups.path + "/backup"
        #expect(try await bus.control(["--disable", "a"]).status == 0)
        let made = try await mandos("--backup", file)
        #expect(made.status == 0, "\(made.errors)")
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try await mandos("--backup", file).errors.contains("File exists"), "nothing is overwritten")
        #expect(try await bus.control(["--enable", "a"]).status == 0)
        let refused = try await mandos("--restore", file)
        #expect(refused.status == 71 && refused.errors.contains("in use by another process"), "\(refused.errors)")

        server.program.signal(SIGTERM)
        #expect(try await server.program.ending() == .exit(status: 0))
        // By hand, it is not taken for the state that was saved last.
        let saved = directory.path + "/clients.sqlite"
        try FileManager.default.removeItem(atPath: saved)
        try Data(contentsOf: URL(filePath: file)).write(to: URL(filePath: saved))
        let start = try await mandos("--no-dbus", "--foreground")
        #expect(start.status == 71 && start.errors.contains("mandos --restore \(saved)"), "\(start.errors)")
        let check = try await mandos("--check")
        #expect(check.status != 0 && check.errors.contains("not the state that was saved last"), "\(check.errors)")

        let restored = try await mandos("--restore", file)
        #expect(restored.status == 0, "\(restored.errors)")
        #expect(try await mandos("--check").status == 0)
        let again = try await Server(in: directory, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.control(["--is-enabled", "a"]).status == 1)
        #expect(try await bus.control(["--is-enabled", "b"]).status == 0)
    }

    @Test func `leave no incomplete file behind`() async throws {
        let directory = try TemporaryDirectory(["clients.conf": section("a")])
        let result = try await runForText(
            Place.program("mandos"),
            Server.options(in: directory).dropLast() + ["--backup", directory.path + "/backup"])
        #expect(result.status == 71 && result.errors.contains("clients.sqlite"), "\(result.errors)")
        #expect(!directory.contains("backup"))
    }
}
