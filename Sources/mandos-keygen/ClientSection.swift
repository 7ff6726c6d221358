import FoundationEssentials
import MandosFormats
import MandosTLS
import POSIXKit

/// What the server needs to know of a client: a section for clients.conf.
struct ClientSection {
    let text: String

    /// Encrypts the password and finds out the rest.
    init(
        name: String, directory: KeyDirectory, password: SecretBuffer, includesSSH: Bool, gnuPG: GnuPG,
        until stop: borrowing StopSignals
    ) throws {
        let publicKeyFile = directory.path(of: .tlsPublicKey)
        let publicKey = try PublicKey.read(pem: try readFile(publicKeyFile, limit: 1 << 20))
        let facts = try gnuPG.facts(ofKeyFile: directory.path(of: .publicKey), until: stop)
        if let expires = facts.expires, expires.millisecondsSince1970 <= Int64(Date.now.timeIntervalSince1970 * 1000) {
            throw KeygenError("the OpenPGP key has expired at \(expires.rfc3339); make new keys with --force")
        }
        let message = try gnuPG.encrypt(password, for: directory, until: stop)
        text = Self.text(
            name: name, keyID: try publicKey.keyID, facts: facts, message: message,
            sshFingerprint: includesSSH ? SSHHostKey.fingerprint(until: stop) : nil)
    }

    static func text(
        name: String, keyID: KeyID, facts: OpenPGPKeyFacts, message: [UInt8], sshFingerprint: String?
    ) -> String {
        var lines = ["[\(name)]", "host = \(escaped(name))", "key_id = \(keyID)", "fingerprint = \(facts.fingerprint)"]
        if let expires = facts.expires { lines.append("key_expires = \(expires.rfc3339)") }
        lines.append("secret =")
        let base64 = Data(message).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
        lines += base64.split(separator: "\n").map { "    " + $0 }
        if let sshFingerprint, let type = sshFingerprint.split(separator: " ").first {
            // The host's name is quoted for the shell where the server fills it in.
            lines.append(
                "checker = ssh-keyscan -t \(type) %%(host)s 2>/dev/null"
                    + " | grep --quiet --line-regexp --fixed-strings --regexp=%%(host)s\" %(ssh_fingerprint)s\"")
            lines.append("ssh_fingerprint = \(sshFingerprint)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A percent sign in a value is written as two.
    private static func escaped(_ value: String) -> String { value.replacing("%", with: "%%") }
}

/// The key by which this host's SSH server shows that it is itself.
enum SSHHostKey {
    /// Best first; the last ones are for servers that have nothing better.
    private static let types = ["ed25519", "ecdsa-sha2-nistp256", "rsa"]
    /// Longer than ssh-keyscan itself waits for a server, in milliseconds.
    private static let patience: Int64 = 10_000

    /// The type and the key, as ssh-keyscan(1) prints them after the host; nil if no SSH server answers here.
    static func fingerprint(until stop: borrowing StopSignals) -> String? {
        guard let path = Program.find("ssh-keyscan") else { return nil }
        for type in types {
            let output = try? Program.run(
                "asking for the SSH host key", path, [path, "-t", type, "localhost"], patience: patience, until: stop)
            guard let output else { return nil }
            let lines = String(decoding: output.copy, as: UTF8.self).split(separator: "\n")
            for line in lines where !line.hasPrefix("#") {
                let words = line.split(separator: " ")
                if words.count == 3 { return "\(words[1]) \(words[2])" }
            }
        }
        return nil
    }
}
