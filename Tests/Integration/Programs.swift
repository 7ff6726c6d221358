import Foundation
import Testing

/// A client's keys, made by a `mandos-keygen`.
struct Keys: Sendable {
    let directory: Directory

    /// What makes keys quickly; RSA 4096 takes seconds.
    static let quick = ["--type", "ed25519", "--subtype", "cv25519"]

    /// Keys by our program.
    static func make(_ options: [String] = quick) async throws -> Keys {
        let directory = try Directory()
        let result = try await run(
            Place.program("mandos-keygen"), ["--dir", directory.path, "--name", "test"] + options)
        try #require(result.status == 0, "\(result.errors)")
        return Keys(directory: directory)
    }

    /// A section that gives `password`, by our program.
    func section(_ name: String, password: Data) async throws -> String {
        let file = try directory.write(password, to: "password")
        let result = try await run(
            Place.program("mandos-keygen"),
            ["--dir", directory.path, "--name", name, "--passfile", file, "--no-ssh"])
        try #require(result.status == 0, "\(result.errors)")
        return String(decoding: result.output, as: UTF8.self)
    }

    /// The options that tell a `mandos-client` where they are.
    var options: [String] { Self.options(in: directory.path) }

    /// The same for our client, which is to leave the network of this machine as it is.
    var clientOptions: [String] { options + ["--interface=none", "--network-hook-dir=/nonexistent"] }

    static func options(in directory: String) -> [String] {
        [
            "--pubkey=\(directory)/pubkey.txt", "--seckey=\(directory)/seckey.txt",
            "--tls-pubkey=\(directory)/tls-pubkey.pem", "--tls-privkey=\(directory)/tls-privkey.pem",
        ]
    }
}

/// Our server, serving on loopback.
struct Server {
    let configuration: Directory
    let program: RunningProgram
    let port: Int

    var address: String { "[::1]:\(port)" }

    init(
        clients: String, options: [String] = [], environment: [String: String] = [:], bus: TestBus? = nil
    ) async throws {
        let configuration = try Directory()
        try configuration.write(clients, to: "clients.conf")
        try await self.init(in: configuration, options: options, environment: environment, bus: bus)
    }

    /// With what is in `configuration` already, which is also where its state is: as after another one there.
    init(
        in configuration: Directory, options: [String] = [], environment: [String: String] = [:], bus: TestBus? = nil
    ) async throws {
        self.configuration = configuration
        program = try RunningProgram(
            Place.program("mandos"),
            [
                "--configdir", configuration.path, "--statedir", configuration.path, "--foreground", "--debuglevel",
                "DEBUG",
            ] + (bus == nil ? ["--no-dbus"] : []) + options,
            environment: environment.merging(bus?.environment ?? [:]) { $1 })
        let line = try await program.line(with: " serving")
        port = try #require(line.firstMatch(of: /port=(\d+)/).flatMap { Int($0.output.1) })
    }
}

/// Our client, asking `servers`.
func client(_ keys: Keys, _ servers: [String], _ options: [String] = []) throws -> RunningProgram {
    let connect = servers.map { "--connect=\($0)" }
    return try RunningProgram(Place.program("mandos-client"), keys.clientOptions + connect + options)
}
