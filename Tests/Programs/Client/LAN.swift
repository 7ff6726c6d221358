import Foundation
import TestSupport
import Testing

/// Hosts on a LAN, as `lan.sh` beside this file makes them.
struct LAN {
    let keys: Keys
    /// `$KNOWN` is a clients.conf that knows the client, whose password is ``password``; `$UNKNOWN` is one that does not.
    let directory: TemporaryDirectory

    static let password = "the password"

    init(section: String = "", keys: Keys? = nil) async throws {
        self.keys = if let keys { keys } else { try await Keys.make() }
        directory = try TemporaryDirectory()
        try await directory.write(
            self.keys.section("foo", password: Data(Self.password.utf8)) + section, to: "known")
        try directory.write("[DEFAULT]\n", to: "unknown")
    }

    /// Runs a shell script that knows what `lan.sh` has.
    func run(_ script: String) async throws -> (status: Int32, output: String, errors: String) {
        let library = URL(filePath: #filePath).deletingLastPathComponent().path + "/lan.sh"
        let result = try await TestSupport.run(
            "/usr/bin/unshare",
            [
                "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c",
                ". \"$LIBRARY\"\n" + script,
            ],
            environment: [
                "LIBRARY": library, "MANDOS": Place.program("mandos"), "CLIENT": Place.program("mandos-client"),
                "KEYS": keys.directory.path, "REFERENCE": Reference.root, "KNOWN": directory.path + "/known",
                "UNKNOWN": directory.path + "/unknown",
            ])
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }
}
