import Glibc
import MandosCore
import MandosFormats
import MandosServer
import MandosTLS
import POSIXKit

/// `--check`: the steps of a start that have no effect on the system.
///
/// Source: mandos(8) `--check`; which steps is our choice.
struct StartupCheck {
    let configurationDirectory: String
    let options: ServerOptions

    /// Prints a line for each step that works and an error for each that fails, and exits.
    func run() -> Never {
        let configuration = checkConfiguration()
        let settings = options.applied(to: configuration.server)
        var hasFailed = false
        func check(_ step: String, _ body: () throws -> String) {
            do {
                print("\(step): \(try body())")
            } catch {
                complain("mandos", "\(step): \(error)")
                hasFailed = true
            }
        }
        check("checkers") { try Self.findCheckers(configuration.clients) }
        check("TLS") { try Self.shakeHands(settings) }
        check("saved state") { try Self.examineState(settings.stateDirectory) }
        hasFailed ? ExitStatus.software.exit() : ExitStatus.success.exit()
    }

    private func checkConfiguration() -> Configuration {
        do throws(ConfigProblems) {
            let configuration = try Configuration.load(directory: configurationDirectory)
            for warning in configuration.warnings { complain("mandos", "\(warning)") }
            print("configuration: \(configuration.clients.count) clients")
            return configuration
        } catch {
            for problem in error.problems { complain("mandos", "\(problem)") }
            error.exitStatus.exit()
        }
    }

    /// Whether a client could prove its key with the configured priority string.
    private static func shakeHands(_ settings: ServerSettings) throws -> String {
        let priority = try Priority(settings.priority ?? Priority.standard)
        let keys = try KeyPair.generate(.ed25519)
        let server = try TLSSession(role: .mandosServer, priority: priority, credentials: Credentials())
        let clientCredentials = try Credentials(
            publicKey: keys.publicKey, privateKey: keys.privateKey, diffieHellman: .automatic)
        let client = try TLSSession(role: .mandosClient, priority: priority, credentials: clientCredentials)
        var serverIsDone = false
        var clientIsDone = false
        // No handshake needs more turns of each side.
        for _ in 0..<8 where !(serverIsDone && clientIsDone) {
            if !serverIsDone { serverIsDone = try server.handshake() }
            let toClient = server.takeOutput()
            client.receive(toClient.span)
            if !clientIsDone { clientIsDone = try client.handshake() }
            let toServer = client.takeOutput()
            server.receive(toServer.span)
        }
        guard serverIsDone, try server.peerKeyID == keys.keyID else {
            throw Failure(description: "a handshake with an internal client proved no key; check the priority string")
        }
        return "a handshake with an internal client works"
    }

    /// Looks at the saved state as far as possible as the Mandos user, which this process becomes.
    private static func examineState(_ path: String) throws -> String {
        let directory = try Privileges.examine(stateDirectory: path)
        let willBeGiven = "will be given to the Mandos user at the start"
        if directory.isRoots && Hardening.isRoot {
            // Nobody else could make a file in there, so it is safe to open them as root.
            return try SQLiteStateStore.examine(directory: path) + "; \(path) \(willBeGiven)"
        }
        let rootsFiles = directory.rootsFiles
        try Privileges.drop(stateDirectory: nil)
        try StateDirectory.checkAccess(path, except: rootsFiles)
        if rootsFiles.isEmpty { return try SQLiteStateStore.examine(directory: path) }
        return "\(rootsFiles.sorted().joined(separator: " ")) in \(path) \(willBeGiven)"
    }

    /// Whether the programs of all checkers can be found.
    private static func findCheckers(_ clients: [ClientSettings]) throws -> String {
        var clientOfProgram: [String: String] = [:]
        for client in clients {
            guard let word = client.checker.program else { continue }
            clientOfProgram[word] = clientOfProgram[word] ?? client.name
        }
        // As the user of the checkers: it need not be able to run what root can.
        let process = try CheckerProcess.start(as: .checkers)
        // A program has no character that is special to the shell.
        let missing = try clientOfProgram.filter { try process.run("command -v \($0.key)") != .success }
            .sorted { $0.key < $1.key }
        if let warning = Account.warning { complain("mandos", warning) }
        guard missing.isEmpty else {
            let list = missing.map { "\($0.key), for [\($0.value)] and maybe others" }.joined(separator: "; ")
            throw Failure(
                description: "not found: \(list); install the program, or these clients will be disabled")
        }
        return clientOfProgram.isEmpty ? "none" : "found \(clientOfProgram.keys.sorted().joined(separator: " "))"
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }
}
