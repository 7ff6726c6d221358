import Foundation
import Testing

/// A system bus of a test's own.
final class TestBus {
    /// Who may do what on it.
    enum Policy {
        case everybody
        /// As a distribution has it, and our file beside it, with the user that the server becomes here.
        case shipped
    }

    private let directory: Directory
    private let configuration: String
    private var daemon: RunningProgram?

    var address: String { "unix:path=\(directory.path)/bus" }
    var environment: [String: String] { ["DBUS_SYSTEM_BUS_ADDRESS": address] }

    init(_ policy: Policy = .everybody, isRunning: Bool = true) async throws {
        directory = try Directory()
        // The server is another user when it comes here.
        try FileManager.default.setAttributes([.posixPermissions: 0o711], ofItemAtPath: directory.path)
        let rules: String
        switch policy {
        case .everybody:
            rules = """
                <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
                <allow receive_sender="*"/></policy>
                """
        case .shipped:
            let ours = try String(contentsOfFile: Place.package + "/packaging/dbus/mandos.conf", encoding: .utf8)
            let file = try directory.write(
                ours.replacing("group=\"_mandos\"", with: "user=\"nobody\""), to: "mandos.conf")
            rules = """
                <policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
                <allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
                <allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
                <allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
                <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/></policy>
                <include>\(file)</include>
                """
        }
        configuration = try directory.write(
            """
            <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
             "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><type>system</type><listen>unix:path=\(directory.path)/bus</listen><auth>EXTERNAL</auth>
            \(rules)
            </busconfig>
            """, to: "bus.conf")
        if isRunning { try await start() }
    }

    func start() async throws {
        daemon = try RunningProgram(
            "/usr/bin/dbus-daemon", ["--config-file", configuration, "--nofork", "--nopidfile"])
        for _ in 0..<500 where !FileManager.default.fileExists(atPath: directory.path + "/bus") {
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    func stop() async throws {
        daemon?.signal(SIGKILL)
        _ = try await daemon?.ending()
        try FileManager.default.removeItem(atPath: directory.path + "/bus")
    }

    /// Our mandos-ctl, at this bus.
    func control(_ arguments: [String], as user: Int? = nil) async throws -> (
        status: Int32, output: String, errors: String
    ) {
        let program = Place.program("mandos-ctl")
        let result =
            if let user {
                try await run(
                    "/usr/bin/setpriv", ["--reuid=\(user)", "--regid=\(user)", "--clear-groups", program] + arguments,
                    environment: environment)
            } else {
                try await run(program, arguments, environment: environment)
            }
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }

    /// What mandos-ctl knows of a client.
    func properties(of client: String) async throws -> [String: String] {
        let result = try await control(["--dump-json", client])
        try #require(result.status == 0, "\(result.errors)")
        let all = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String: Any]]
        return try #require(all?[client]).mapValues { "\($0)" }
    }

    /// A call by a program that is not ours; arguments are in GVariant's text form.
    func call(_ path: String, _ method: String, _ arguments: [String] = []) async throws -> (
        status: Int32, output: String, errors: String
    ) {
        let result = try await run(
            "/usr/bin/gdbus",
            [
                "call", "--address", address, "--dest", "se.recompile.Mandos", "--object-path", path, "--method",
                method,
                "--",
            ] + arguments)
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }
}

/// A client without keys of its own.
func section(_ name: String, key: Int = 1, _ rest: String = "") -> String {
    let digits = String(key)
    return """
        [\(name)]
        key_id = \(String(repeating: "0", count: 64 - digits.count) + digits)
        secret = c2VjcmV0
        checker = true
        \(rest)

        """
}

/// Our server, once it is on the bus.
func started(_ clients: String, on bus: TestBus) async throws -> Server {
    let server = try await Server(clients: clients, bus: bus)
    _ = try await server.program.line(with: "on the bus")
    return server
}
