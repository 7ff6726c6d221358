import FoundationEssentials
import MandosClient
import MandosFormats
import POSIXKit

/// The parameters of a new OpenPGP key. Source: mandos-keygen(8).
struct OpenPGPKeyParameters {
    let type: String
    let length: UInt
    let subtype: String
    let sublength: UInt
    let name: String
    let email: String?
    let comment: String?
    let expire: String?

    /// Algorithms that every OpenPGP implementation supports (RFC 4880). By default, GnuPG 2.4 also claims OCB, which other
    /// implementations cannot read, and messages to the key would then use it.
    static let preferences = "AES256 AES192 AES SHA512 SHA384 SHA256 ZLIB ZIP Uncompressed"

    /// The input of `gpg --generate-key`. Source: "Unattended key generation" in GnuPG's manual.
    var batch: String {
        var lines = ["%no-protection"]
        lines += algorithm("Key", type, length) + ["Key-Usage: sign"]
        lines += algorithm("Subkey", subtype, sublength) + ["Subkey-Usage: encrypt"]
        lines.append("Name-Real: \(name)")
        if let email, !email.isEmpty { lines.append("Name-Email: \(email)") }
        if let comment, !comment.isEmpty { lines.append("Name-Comment: \(comment)") }
        lines.append("Expire-Date: \(expire ?? "0")")
        lines.append("Preferences: \(Self.preferences)")
        lines.append("%commit")
        return lines.joined(separator: "\n") + "\n"
    }

    private func algorithm(_ key: String, _ type: String, _ length: UInt) -> [String] {
        switch type.lowercased() {
        case "ed25519": ["\(key)-Type: EdDSA", "\(key)-Curve: ed25519"]
        case "cv25519": ["\(key)-Type: ECDH", "\(key)-Curve: cv25519"]
        default: ["\(key)-Type: \(type)", "\(key)-Length: \(length)"]
        }
    }
}

/// The fingerprint and the expiry time of a public key.
struct OpenPGPKeyFacts: Equatable {
    /// Upper-case hexadecimal digits.
    let fingerprint: String
    let expires: Timestamp?

    /// Reads the output of `gpg --with-colons --show-keys`. Source: GnuPG's doc/DETAILS.
    init?(colonListing: String) {
        let records = colonListing.split(separator: "\n").map {
            $0.split(separator: ":", omittingEmptySubsequences: false)
        }
        guard let key = records.first(where: { $0[0] == "pub" }), key.count > 6,
            let fingerprint = records.first(where: { $0[0] == "fpr" }), fingerprint.count > 9
        else { return nil }
        self.fingerprint = String(fingerprint[9])
        expires = Int64(key[6]).map(Timestamp.init(secondsSince1970:))
    }
}

/// GnuPG with a temporary home of its own.
struct GnuPG {
    private let path: String
    private let home: GnuPGHome

    init() throws(KeygenError) {
        guard let path = Program.find("gpg") else {
            throw KeygenError("gpg is not installed; install it with: apt install gpg gpg-agent")
        }
        self.path = path
        home = try KeygenError.wrap { () throws(SystemError) in try GnuPGHome(in: Self.temporaryPlaces) }
    }

    /// Source: mandos-keygen(8), ENVIRONMENT.
    static var temporaryPlaces: [String] {
        let given = ProcessInfo.processInfo.environment["TMPDIR"] ?? ""
        return [given.isEmpty ? "/tmp" : given]
    }

    func generateKey(
        _ parameters: OpenPGPKeyParameters, until stop: borrowing StopSignals
    ) throws(KeygenError) -> (publicKey: [UInt8], secretKey: [UInt8]) {
        let batch = SecretBuffer(Array(parameters.batch.utf8))
        _ = try run("making the OpenPGP key", ["--allow-freeform-uid", "--generate-key"], input: batch, until: stop)
        let armor = ["--armor", "--comment", "Mandos client key for \(parameters.name)"]
        let publicKey = try run("exporting the public key", armor + ["--export"], until: stop)
        let secretKey = try run("exporting the secret key", armor + ["--export-secret-keys"], until: stop)
        return (publicKey.copy, secretKey.copy)
    }

    func facts(ofKeyFile file: String, until stop: borrowing StopSignals) throws(KeygenError) -> OpenPGPKeyFacts {
        let listing = try run("reading \(file)", ["--with-colons", "--show-keys", file], until: stop)
        guard let facts = OpenPGPKeyFacts(colonListing: String(decoding: listing.copy, as: UTF8.self)) else {
            throw KeygenError("there is no OpenPGP key in \(file)")
        }
        return facts
    }

    /// Encrypts to the key in `directory`, as a message that every OpenPGP implementation can read.
    func encrypt(
        _ password: SecretBuffer, for directory: KeyDirectory, until stop: borrowing StopSignals
    ) throws(KeygenError) -> [UInt8] {
        let options = ["--trust-model", "always", "--compress-algo", "none", "--encrypt"]
        let publicKey = directory.path(of: .publicKey)
        let message = try run(
            "encrypting the password", options + ["--recipient-file", publicKey], input: password, until: stop)
        if OpenPGPMessage.isReadableByAll(message.copy) { return message.copy }

        // The key claims OCB, the default of GnuPG 2.4. The claim is removed in our own home, where no file of the user
        // changes; that needs the secret key.
        let fingerprint = try facts(ofKeyFile: publicKey, until: stop).fingerprint
        _ = try run("reading the secret key", ["--import", directory.path(of: .secretKey)], until: stop)
        _ = try run(
            "changing the key's preferences",
            ["--default-preference-list", OpenPGPKeyParameters.preferences, "--quick-update-pref", fingerprint],
            until: stop)
        let second = try run(
            "encrypting the password", options + ["--recipient", fingerprint], input: password, until: stop)
        guard OpenPGPMessage.isReadableByAll(second.copy) else {
            throw KeygenError(
                "gpg makes only messages that other OpenPGP programs cannot read; make new keys with --force")
        }
        return second.copy
    }

    private func run(
        _ action: String, _ arguments: [String], input: SecretBuffer? = nil, until stop: borrowing StopSignals
    ) throws(KeygenError) -> SecretBuffer {
        let common = [path, "--homedir", home.path, "--batch", "--no-tty", "--quiet", "--no-options"]
        return try Program.run(action, path, common + arguments, input: input, until: stop)
    }
}

/// Runs other programs to their end.
enum Program {
    /// How long a program may take, in milliseconds; making a large key on a small machine takes minutes.
    private static let timeLimit: Int64 = 600_000

    /// The path of the program `name` in the directories of PATH.
    static func find(_ name: String) -> String? {
        let directories = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":") ?? ["/usr/bin", "/bin"]
        return directories.map { "\($0)/\(name)" }.first(where: isExecutable)
    }

    /// - Returns: the program's output.
    /// - Throws: if the program fails or takes too long, or a signal asks us to stop.
    static func run(
        _ action: String, _ path: String, _ arguments: [String], input: SecretBuffer? = nil,
        timeLimit: Int64 = timeLimit, until stop: borrowing StopSignals
    ) throws(KeygenError) -> SecretBuffer {
        let environment = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
        let process = try KeygenError.wrap { () throws(SystemError) in
            try PipedChild.start(
                path, arguments: arguments, environment: environment, input: input,
                outputLimit: 2 * ProtocolLimits.largestSecret)
        }
        let deadline = BootTime.now().after(milliseconds: timeLimit)
        while true {
            switch process.advance() {
            case .ended(.success): return process.output
            case .ended(let status): throw KeygenError("\(action): \(process.reason(of: status))")
            case .tooMuchOutput: throw KeygenError("\(action): \(path) printed too much")
            case nil: break
            }
            if BootTime.now() >= deadline { throw KeygenError("\(action): \(path) took too long") }
            var set = PollSet()
            set.add(stop.descriptor.number)
            set.limit(to: deadline)
            process.register(in: &set)
            set.wait()
            if let signal = stop.next() { throw .interrupted(signal: signal) }
        }
    }
}

extension SecretBuffer {
    /// A plain copy, for bytes that are not secret or are about to be written to a file.
    var copy: [UInt8] { unsafe withBytes { unsafe Array($0) } }
}
