import Glibc
import MandosCore
import MandosFormats
import MandosServer
import MandosTLS
import POSIXKit

/// What `--check` does: all of a start that nobody notices.
///
/// Source: mandos(8) `--check`; what is checked is ours.
struct SelfTest {
    let configurationDirectory: String
    /// What the command line makes of mandos.conf.
    let override: (ServerSettings) -> ServerSettings

    /// Prints a line for each thing that works, complains of those that do not, and exits accordingly.
    func run() -> Never {
        guard let configuration = checkConfiguration() else { ExitStatus.configuration.exit() }
        let settings = override(configuration.server)
        var hasFailed = false
        func check(_ what: String, _ body: () throws -> String) {
            do {
                print("\(what): \(try body())")
            } catch {
                complain("mandos", "\(what): \(error)")
                hasFailed = true
            }
        }
        check("checkers") { try Self.findCheckers(configuration.clients) }
        check("TLS") { try Self.shakeHands(settings) }
        check("saved state") {
            let isRootsStill = try Privileges.check(stateDirectory: settings.stateDirectory)
            if isRootsStill { return "\(settings.stateDirectory) is given to the Mandos user at the start" }
            try Privileges.drop(stateDirectory: nil)
            return try SQLiteStateStore.examine(directory: settings.stateDirectory)
        }
        hasFailed ? ExitStatus.software.exit() : ExitStatus.success.exit()
    }

    private func checkConfiguration() -> Configuration? {
        do throws(ConfigProblems) {
            let configuration = try Configuration.load(directory: configurationDirectory)
            for warning in configuration.warnings { complain("mandos", "\(warning)") }
            print("configuration: \(configuration.clients.count) clients")
            return configuration
        } catch {
            for problem in error.problems { complain("mandos", "\(problem)") }
            return nil
        }
    }

    /// Whether a client could prove its key with the priority string in force.
    private static func shakeHands(_ settings: ServerSettings) throws -> String {
        let priority = try Priority(settings.priority ?? Priority.standard)
        let keys = try KeyPair.generate(.ed25519)
        let server = try TLSSession(role: .mandosServer, priority: priority, credentials: Credentials())
        let clientCredentials = try Credentials(
            publicKey: keys.publicKey, privateKey: keys.privateKey, diffieHellman: .automatic)
        let client = try TLSSession(role: .mandosClient, priority: priority, credentials: clientCredentials)
        var serverIsDone = false
        var clientIsDone = false
        // Each side has its turn a few times at most in any handshake.
        for _ in 0..<8 where !(serverIsDone && clientIsDone) {
            if !serverIsDone { serverIsDone = try server.handshake() }
            let toClient = server.takeOutput()
            client.receive(toClient.span)
            if !clientIsDone { clientIsDone = try client.handshake() }
            let toServer = client.takeOutput()
            server.receive(toServer.span)
        }
        guard serverIsDone, try server.peerKeyID == keys.keyID else { throw HandshakeFailure() }
        return "a handshake of ours with ourselves works"
    }

    private struct HandshakeFailure: Error, CustomStringConvertible {
        let description = "a handshake of ours with ourselves proved no key; see the priority string"
    }

    /// Whether the programs that checkers begin with can be found.
    private static func findCheckers(_ clients: [ClientSettings]) throws -> String {
        var clientOfProgram: [String: String] = [:]
        for client in clients {
            guard let word = client.checker.program else { continue }
            clientOfProgram[word] = clientOfProgram[word] ?? client.name
        }
        let missing = clientOfProgram.filter { !isThere($0.key) }.sorted { $0.key < $1.key }
        guard missing.isEmpty else {
            let list = missing.map { "\($0.key), for [\($0.value)] and maybe others" }.joined(separator: "; ")
            throw MissingPrograms(description: "not found: \(list); install it, or those clients will be cut off")
        }
        return clientOfProgram.isEmpty ? "none" : "found \(clientOfProgram.keys.sorted().joined(separator: " "))"
    }

    private static func isThere(_ program: String) -> Bool {
        // The shell knows what is a command to it; such a word has nothing in it that means anything else to it.
        unsafe system("command -v \(program) >/dev/null 2>&1") == 0
    }

    private struct MissingPrograms: Error, CustomStringConvertible {
        let description: String
    }
}
