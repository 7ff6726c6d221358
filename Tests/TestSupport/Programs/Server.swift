import Foundation
import Testing

/// Our server, on loopback.
public struct Server {
    /// The directory of its configuration files and of its state.
    public let configuration: TemporaryDirectory
    public let program: RunningProgram
    public let port: Int

    public var address: String { "[::1]:\(port)" }

    /// Starts a server with this clients.conf.
    public init(
        clients: String, options: [String] = [], environment: [String: String] = [:], bus: TestBus? = nil
    ) async throws {
        let configuration = try TemporaryDirectory()
        try configuration.write(clients, to: "clients.conf")
        try await self.init(in: configuration, options: options, environment: environment, bus: bus)
    }

    /// Starts a server with the configuration and the state that are in a directory already, as after a restart.
    public init(
        in configuration: TemporaryDirectory, options: [String] = [], environment: [String: String] = [:],
        bus: TestBus? = nil
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

/// Starts our client, which asks `servers`.
public func client(_ keys: Keys, _ servers: [String], _ options: [String] = []) throws -> RunningProgram {
    let connect = servers.map { "--connect=\($0)" }
    return try RunningProgram(Place.program("mandos-client"), keys.clientOptions + connect + options)
}

/// A section of clients.conf with a key ID that no key has.
public func section(_ name: String, key: Int = 1, _ rest: String = "") -> String {
    let digits = String(key)
    return """
        [\(name)]
        key_id = \(String(repeating: "0", count: 64 - digits.count) + digits)
        secret = c2VjcmV0
        checker = true
        \(rest)

        """
}

/// Starts our server, and waits until it is on the bus.
public func started(_ clients: String, on bus: TestBus) async throws -> Server {
    let server = try await Server(clients: clients, bus: bus)
    _ = try await server.program.line(with: "on the bus")
    return server
}
