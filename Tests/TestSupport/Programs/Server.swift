import Foundation
import Testing

/// Our server, on loopback.
public struct Server {
    /// The directory of its configuration files and of its state.
    public let configuration: TemporaryDirectory
    public let program: RunningProgram
    public let port: Int

    public var address: String { "[::1]:\(port)" }

    /// Starts a server with this clients.conf, and waits until it serves.
    public init(
        clients: String, options: [String] = [], environment: [String: String] = [:], bus: TestBus? = nil
    ) async throws {
        try await self.init(
            in: TemporaryDirectory(["clients.conf": clients]), options: options, environment: environment, bus: bus)
    }

    /// Starts a server with the configuration and the state that are in a directory already, as after a restart.
    public init(
        in configuration: TemporaryDirectory, options: [String] = [], environment: [String: String] = [:],
        bus: TestBus? = nil
    ) async throws {
        let arguments = ["--debuglevel", "DEBUG"] + (bus == nil ? ["--no-dbus"] : []) + options
        try await self.init(
            running: RunningProgram(
                Place.program("mandos"), Self.options(in: configuration) + arguments,
                environment: environment.merging(bus?.environment ?? [:]) { $1 }), in: configuration)
    }

    /// Waits until a server that was started already serves.
    public init(running program: RunningProgram, in configuration: TemporaryDirectory) async throws {
        self.configuration = configuration
        self.program = program
        let line = try await program.line(with: " serving")
        port = try #require(line.firstMatch(of: /port=(\d+)/).flatMap { Int($0.output.1) })
    }

    /// The options of a server in the foreground with its configuration and its state in one directory.
    public static func options(in directory: TemporaryDirectory) -> [String] {
        ["--configdir", directory.path, "--statedir", directory.path, "--foreground"]
    }
}

/// Starts our client, which asks `servers`.
public func client(_ keys: Keys, _ servers: [String], _ options: [String] = []) throws -> RunningProgram {
    let connect = servers.map { "--connect=\($0)" }
    return try RunningProgram(Place.program("mandos-client"), keys.clientOptions + connect + options)
}

/// Starts our server, and waits until it is on the bus.
public func started(_ clients: String, on bus: TestBus) async throws -> Server {
    let server = try await Server(clients: clients, bus: bus)
    _ = try await server.program.line(with: "on the bus")
    return server
}
