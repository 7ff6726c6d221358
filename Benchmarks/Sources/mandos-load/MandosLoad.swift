import ArgumentParser
import Glibc
import POSIXKit
import MandosTLS

@main struct MandosLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos-load",
        abstract: "Act as many clients of a Mandos server at once.",
        discussion: "What came of it is printed as JSON, a line each.",
        subcommands: [Fetch.self, Silent.self, GreetingOnly.self, Abort.self])
}

struct Fetch: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Get the secret, and compare it.")

    @OptionGroup var visit: VisitOptions
    @Option(help: "The most connections at a time.") var atOnce: Int
    @OptionGroup var keys: KeyOptions
    @Option(help: "File with the bytes that the server has to send.") var expect: String

    func run() throws {
        let expected = try readFile(expect, limit: KeyOptions.largestFile)
        let errand = Errand.fetch(expected: expected, try keys.identity())
        VisitReport(try visit.run(errand, atOnce: atOnce)).report()
    }
}

struct Abort: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Leave in the middle of the handshake.")

    @OptionGroup var visit: VisitOptions
    @Option(help: "The most connections at a time.") var atOnce: Int
    @OptionGroup var keys: KeyOptions

    func run() throws {
        VisitReport(try visit.run(.abort(try keys.identity()), atOnce: atOnce)).report()
    }
}

struct Silent: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Connect and say nothing.")

    @OptionGroup var visit: VisitOptions

    func run() throws { IdleReport(try visit.run(.silence, atOnce: visit.count)).report() }
}

struct GreetingOnly: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "greeting", abstract: "Send the greeting, and nothing more.")

    @OptionGroup var visit: VisitOptions

    func run() throws { IdleReport(try visit.run(.greeting, atOnce: visit.count)).report() }
}

struct VisitOptions: ParsableArguments {
    @Option(name: .customLong("connect"), help: "ADDRESS:PORT of the server.", transform: Self.address)
    var server: SocketAddress

    @Option(help: "How many connections to make.") var count: Int
    @Option(help: "How long all of it may take.") var seconds = 120

    func validate() throws {
        guard count > 0 && seconds > 0 else { throw ValidationError("--count and --seconds have to be above 0") }
    }

    /// Tells when all hold, if they do.
    func run(_ errand: Errand, atOnce: Int) throws -> Crowd.Outcome {
        guard atOnce > 0 else { throw ValidationError("--at-once has to be above 0") }
        raiseOpenFiles()
        _ = signal(SIGPIPE, SIG_IGN)
        return try Crowd(count: count, atOnce: atOnce, limit: .seconds(seconds)).run {
            HoldingReport(holding: count).report()
        } arrival: {
            try Visitor(errand, to: server)
        }
    }

    private static func address(_ text: String) throws -> SocketAddress {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw ValidationError("it is ADDRESS:PORT")
        }
        let host = String(text[..<colon])
        guard let address = try SocketAddress.resolve(host: host, port: port, isNumeric: true).get().first else {
            throw ValidationError("it has no address")
        }
        return address
    }
}

struct KeyOptions: ParsableArguments {
    @Option(help: "Public TLS key, PEM, as mandos-keygen makes it.") var tlsPubkey: String
    @Option(help: "Private TLS key, PEM, as mandos-keygen makes it.") var tlsPrivkey: String

    /// No file that we are given is longer, in bytes.
    static let largestFile = 1 << 20

    func identity() throws -> Identity {
        let publicKey = try readFile(tlsPubkey, limit: Self.largestFile)
        let privateKey = try readFile(tlsPrivkey, limit: Self.largestFile)
        return Identity(
            priority: try Priority(),
            credentials: try Credentials(publicKey: publicKey, privateKey: privateKey, diffieHellman: .automatic))
    }
}

/// Raises the number of files that may be open to the most that we are allowed: each connection is one.
private func raiseOpenFiles() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    // If it fails, the limit stays as it was: then connections fail, and the report says so.
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Hands over what was printed.
func flushOutput() { _ = fflush(nil) }
