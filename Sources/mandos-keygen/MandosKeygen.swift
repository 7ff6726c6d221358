public import ArgumentParser
import MandosClient
import MandosFormats
import MandosTLS
import POSIXKit

/// mandos-keygen(8): makes a client's keys and its section for the server's clients.conf.
@main struct MandosKeygen: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos-keygen",
        abstract: "Make the keys of a Mandos client, or encrypt its password for the server.",
        usage: """
            mandos-keygen [OPTIONS]                                      make keys
            mandos-keygen {--password | --passfile FILE} [--no-ssh]      print a section for clients.conf
            mandos-keygen --test [--connect ADDRESS:PORT]                test the keys before a reboot uses them
            """)

    @OptionGroup(title: "Making keys") var key: KeyOptions
    @OptionGroup(title: "Encrypting a password") var encryption: EncryptionOptions
    @OptionGroup(title: "Testing keys") var trial: TrialOptions

    @Option(name: [.long, .customShort("d")], help: "Directory of the key files.")
    var dir: String = KeyDirectory.standardPath

    @Option(
        name: [.long, .customShort("n")],
        help: "Name of the key and of the section, and the host for the checker. (default: this host's full name)")
    var name: String?

    @Flag(name: [.long, .customShort("v")], help: "Print the version and exit.")
    var version = false

    static func main() {
        Hardening.protectProcess()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch KeygenError.interrupted(let signal) {
            dieOf(signal)
        } catch  where exitCode(for: error) == .failure {
            complain("mandos-keygen", "\(error)")
            exit(withError: ExitCode.failure)
        } catch {
            // Help, or an invalid command line.
            exit(withError: error)
        }
    }

    func validate() throws(ValidationError) {
        let modes = [encryption.password, encryption.passfile != nil, trial.test]
        if modes.count(where: { $0 }) > 1 {
            throw ValidationError("--password, --passfile and --test do different things; choose one")
        }
        if trial.connect != nil && !trial.test { throw ValidationError("--connect belongs to --test") }
        for text in [name, key.email, key.comment, key.expire, key.type, key.subtype] {
            if let text, text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
                throw ValidationError("\"\(text)\" contains control characters; remove them")
            }
        }
        if let name { try Self.checkSectionName(name) }
    }

    private static func checkSectionName(_ name: String) throws(ValidationError) {
        if name.isEmpty { throw ValidationError("the name is empty") }
        if name == ConfigFile.defaultSectionName {
            throw ValidationError("a section named \(name) would apply to all clients; choose another name")
        }
        if name.contains("]") || name.first?.isWhitespace == true || name.last?.isWhitespace == true {
            throw ValidationError(
                "\"\(name)\" cannot be the name of a section: it contains \"]\", or begins or ends with a space")
        }
    }

    func run() throws(KeygenError) {
        if version {
            print("mandos-keygen \(mandosVersion)")
            return
        }
        let directory = try KeyDirectory(path: dir)
        let stop = try KeygenError.wrap { () throws(SystemError) in try StopSignals() }
        let password = try encryption.readPassword(until: stop)
        if trial.test {
            try KeyTrial(directory: directory, gnuPG: GnuPG()).run(connectingTo: trial.connect, until: stop)
        } else if let password {
            let section = try ClientSection(
                name: name ?? HostName.fullyQualified(), directory: directory, password: password,
                includesSSH: !encryption.noSSH, gnuPG: GnuPG(), until: stop)
            try Output.write(section.text)
        } else {
            try makeKeys(directory, until: stop)
        }
    }

    /// Makes all keys before it changes any file.
    private func makeKeys(_ directory: KeyDirectory, until stop: borrowing StopSignals) throws(KeygenError) {
        if !key.force, let file = directory.existingFile {
            throw KeygenError("\(file) exists already; --force replaces the keys, and keeps a backup")
        }
        let name = name ?? HostName.fullyQualified()
        complain("mandos-keygen", "making the OpenPGP key; this can take some seconds")
        let openPGP = try GnuPG().generateKey(
            OpenPGPKeyParameters(
                type: key.type, length: key.length, subtype: key.subtype, sublength: key.sublength,
                name: name, email: key.email, comment: key.comment, expire: key.expire), until: stop)
        let tls = try KeygenError.wrap { () throws(TLSError) in try KeyPair.generate(key.tlsKeytype) }
        try KeygenError.wrap { () throws(SystemError) in
            try directory.install([
                (.secretKey, openPGP.secretKey), (.publicKey, openPGP.publicKey),
                (.tlsPrivateKey, tls.privateKey), (.tlsPublicKey, tls.publicKey),
            ])
        }
    }
}

struct KeyOptions: ParsableArguments {
    @Option(name: [.long, .customShort("t")], help: "OpenPGP key type: RSA, DSA or ed25519.")
    var type = "RSA"

    @Option(name: [.long, .customShort("l")], help: "OpenPGP key length in bits.")
    var length: UInt = 4096

    @Option(name: [.long, .customShort("s")], help: "OpenPGP encryption subkey type: RSA, ELG-E or cv25519.")
    var subtype = "RSA"

    @Option(name: [.customLong("sublength"), .customShort("L")], help: "OpenPGP subkey length in bits.")
    var sublength: UInt = 4096

    @Option(name: [.long, .customShort("e")], help: "Email address of the key. (default: none)")
    var email: String?

    @Option(name: [.long, .customShort("c")], help: "Comment field of the key. (default: none)")
    var comment: String?

    @Option(
        name: [.long, .customShort("x")],
        help: "When the key expires; see gpg(1) for the syntax. The server then refuses the client. (default: never)")
    var expire: String?

    @Option(
        name: [.customLong("tls-keytype"), .customShort("T")],
        help: "TLS key type: \(PrivateKey.Kind.allCases.map(\.rawValue).joined(separator: " ")).")
    var tlsKeytype: PrivateKey.Kind = .ed25519

    @Flag(name: [.long, .customShort("f")], help: "Replace existing keys, keeping numbered backups.")
    var force = false
}

extension PrivateKey.Kind: ExpressibleByArgument {}

struct EncryptionOptions: ParsableArguments {
    @Flag(
        name: [.long, .customShort("p")], help: "Prompt for a password, encrypt it with the key, and print a section.")
    var password = false

    @Option(name: [.long, .customShort("F")], help: "The same, with exactly the bytes of this file as the password.")
    var passfile: String?

    @Flag(
        name: [.customLong("no-ssh"), .customShort("S")], help: "Do not make a checker from this host's SSH host key.")
    var noSSH = false

    /// The password to encrypt, if an option asks for one. Source: mandos-keygen(8) `--password`, `--passfile`.
    func readPassword(until stop: borrowing StopSignals) throws(KeygenError) -> SecretBuffer? {
        if password { return try PasswordInput.read(until: stop) }
        guard let passfile else { return nil }
        var bytes = try KeygenError.wrap { () throws(SystemError) in
            try readFile(passfile, limit: PasswordInput.maximumLength)
        }
        defer { wipe(&bytes) }
        if bytes.isEmpty { throw KeygenError("\(passfile) is empty") }
        return SecretBuffer(bytes)
    }
}

struct TrialOptions: ParsableArguments {
    @Flag(help: "Test whether this host's keys decrypt, without changing anything.")
    var test = false

    @Option(
        help: "With --test: test whether this server sends a password that decrypts, without printing it.",
        transform: ServerName.init(parsing:))
    var connect: ServerName?
}

/// The program's output. A failure to print is a failure of the program.
enum Output {
    static func write(_ text: String) throws(KeygenError) {
        try KeygenError.wrap { () throws(SystemError) in
            try writeAll(Array(text.utf8), to: ExitStatus.standardOutput)
        }
    }
}
