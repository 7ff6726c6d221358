import Foundation
import Testing

/// A system bus for one test.
public final class TestBus {
    /// The rules of the bus: who may own which name, and call whom.
    public enum Policy: Sendable {
        case everybody
        /// The rules of a distribution, and our file beside them, with the user that the server becomes here.
        case shipped
    }

    private let directory: TemporaryDirectory
    private let configuration: String
    private var daemon: RunningProgram?

    public var address: String { "unix:path=\(directory.path)/bus" }
    public var environment: [String: String] { ["DBUS_SYSTEM_BUS_ADDRESS": address] }

    public init(_ policy: Policy = .everybody, isRunning: Bool = true) async throws {
        directory = try TemporaryDirectory()
        // The server has become another user when it connects.
        try directory.setMode(0o711)
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

    public func start() async throws {
        daemon = try RunningProgram(
            "/usr/bin/dbus-daemon", ["--config-file", configuration, "--nofork", "--nopidfile"])
        try await waitUntil("the socket of dbus-daemon") {
            FileManager.default.fileExists(atPath: directory.path + "/bus")
        }
    }

    public func stop() async throws {
        daemon?.signal(SIGKILL)
        _ = try await daemon?.ending()
        try FileManager.default.removeItem(atPath: directory.path + "/bus")
    }

    /// Runs our mandos-ctl on this bus.
    public func control(_ arguments: [String], as user: Int? = nil) async throws -> (
        status: Int32, output: String, errors: String
    ) {
        let program = Place.program("mandos-ctl")
        guard let user else { return try await runForText(program, arguments, environment: environment) }
        return try await runForText(
            "/usr/bin/setpriv", ["--reuid=\(user)", "--regid=\(user)", "--clear-groups", program] + arguments,
            environment: environment)
    }

    /// Starts `mandos-ctl --watch`, and waits until it listens: until then it misses the changes that the test makes to a
    /// client for this.
    public func watch(_ options: [String] = [], by client: String) async throws -> RunningProgram {
        let watch = try RunningProgram(Place.program("mandos-ctl"), ["--watch"] + options, environment: environment)
        try await waitUntil("the first event", details: { watch.errors }) {
            _ = try await control(["--bump-timeout", client])
            return !watch.output.isEmpty
        }
        return watch
    }

    /// The properties of a client, as mandos-ctl shows them.
    public func properties(of client: String) async throws -> [String: String] {
        let result = try await control(["--dump-json", client])
        try #require(result.status == 0, "\(result.errors)")
        let all = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String: Any]]
        return try #require(all?[client]).mapValues { "\($0)" }
    }

    /// Calls a method with gdbus, which is not our program; arguments are in GVariant's text form.
    public func call(_ path: String, _ method: String, _ arguments: [String] = []) async throws -> (
        status: Int32, output: String, errors: String
    ) {
        try await runForText(
            "/usr/bin/gdbus",
            ["call", "--address", address, "--dest", "se.recompile.Mandos", "--object-path", path]
                + ["--method", method, "--"] + arguments)
    }
}
