import Foundation
import TestSupport
import Testing

/// Hosts on a LAN, as `lan.sh` beside this file makes them.
struct LAN {
    let keys: Keys
    /// The directory of two files: `$KNOWN` is a clients.conf with the client, whose password is ``password``; `$UNKNOWN` is
    /// one without it.
    let directory: TemporaryDirectory

    static let password = "the password"

    init(section: String = "", keys: Keys? = nil) async throws {
        self.keys = if let keys { keys } else { try await Keys.make() }
        directory = try TemporaryDirectory()
        try await directory.write(
            self.keys.section("foo", password: Data(Self.password.utf8)) + section, to: "known")
        try directory.write("[DEFAULT]\n", to: "unknown")
    }

    /// Runs a shell script that has the functions of `lan.sh`.
    func run(
        _ script: String, refused: RefusedCalls = RefusedCalls()
    ) async throws -> (status: Int32, output: String, errors: String) {
        let library = URL(filePath: #filePath).deletingLastPathComponent().path + "/lan.sh"
        let result = try await runInNamespaces(
            ". \"$LIBRARY\"\n" + script, [], ownNetwork: true,
            environment: [
                "LIBRARY": library, "MANDOS": Place.program("mandos"), "CLIENT": Place.program("mandos-client"),
                "KEYS": keys.directory.path, "REFERENCE": Reference.root,
                "REFUSE": RefusedCalls.launcher, "PLUGIN_RUNNER": Place.program("plugin-runner"),
                "KNOWN": directory.path + "/known",
                "UNKNOWN": directory.path + "/unknown",
            ], refused: refused)
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }
}
