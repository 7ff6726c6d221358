public import Foundation
import Testing

/// The reference implementation, unpacked by scripts/fetch-reference.
public enum Reference {
    public static let root = Place.package + "/.build-reference/root"

    /// Makes keys with its mandos-keygen.
    public static func makeKeys(_ options: [String] = []) async throws -> Keys {
        let directory = try TemporaryDirectory()
        let result = try await keygen(["--dir", directory.path, "--name", "test"] + options)
        try #require(result.status == 0, "\(result.errors)")
        return Keys(directory: directory)
    }

    /// A section of clients.conf that gives a client `password`, made by its mandos-keygen.
    public static func section(_ name: String, _ keys: Keys, password: Data) async throws -> String {
        let file = try keys.directory.write(password, to: "password")
        let result = try await keygen(
            ["--dir", keys.directory.path, "--name", name, "--passfile", file, "--no-ssh"])
        try #require(result.status == 0, "\(result.errors)")
        return String(decoding: result.output, as: UTF8.self)
    }

    public static func keygen(_ options: [String]) async throws -> (status: Int32, output: Data, errors: String) {
        // Its gpg would otherwise make a home directory for this user.
        let home = try TemporaryDirectory()
        return try await run("/bin/sh", [root + "/usr/sbin/mandos-keygen"] + options, environment: ["HOME": home.path])
    }

    public static func client(_ keys: Keys, _ server: String, _ options: [String] = []) throws -> RunningProgram {
        let plugins = root + "/usr/lib"
        let architecture = try FileManager.default.contentsOfDirectory(atPath: plugins).first {
            FileManager.default.fileExists(atPath: "\(plugins)/\($0)/mandos/plugins.d/mandos-client")
        }
        let path = "/media/usr/lib/\(try #require(architecture))/mandos/plugins.d/mandos-client"
        // It leaves a gpg-agent and a home directory in /tmp behind: they end with a process and mount namespace.
        // Its keys and its program may lie below /tmp too, so they are mounted elsewhere first.
        let script =
            #"mount --bind "$0" /mnt && mount --bind "$1" /media && mount -t tmpfs tmpfs /tmp && shift && exec "$@""#
        let arguments =
            ["--fork", "--pid", "--kill-child", "--mount", "/bin/sh", "-c", script, keys.directory.path, root, path]
            + Keys.options(in: "/mnt")
            + ["--connect=\(server)", "--interface=none", "--network-hook-dir=/nonexistent"] + options
        return try RunningProgram("/usr/bin/unshare", arguments)
    }

    /// Runs its mandos-ctl on a bus.
    public static func control(_ arguments: [String], _ bus: TestBus) async throws -> (
        status: Int32, output: String, errors: String
    ) {
        try await runForText(
            "/usr/bin/python3", [root + "/usr/sbin/mandos-ctl"] + arguments, environment: bus.environment)
    }

    /// Its server, on a bus of its own: it needs one even with --no-dbus.
    public struct Server {
        public let port: Int
        public let program: RunningProgram
        public let bus: TestBus
        public let directory: TemporaryDirectory

        public var address: String { "::1:\(port)" }

        public init(clients: String, usesBus: Bool = false) async throws {
            directory = try TemporaryDirectory()
            // It changes to another user before it opens its state.
            try directory.setMode(0o777)
            try directory.write(clients, to: "clients.conf")
            try directory.write("[DEFAULT]\n", to: "mandos.conf")
            bus = try await TestBus()
            port = freePort()
            try directory.addDirectory("state")
            try directory.setMode(0o777, of: "state")
            program = try RunningProgram(
                "/usr/bin/python3",
                [
                    root + "/usr/sbin/mandos", "--debug", "--configdir", directory.path, "--statedir",
                    directory.path + "/state",
                    "--no-zeroconf", "--port", "\(port)",
                ] + (usesBus ? [] : ["--no-dbus"]), environment: bus.environment)
            _ = try await program.line(with: "Starting main loop")
        }
    }
}
