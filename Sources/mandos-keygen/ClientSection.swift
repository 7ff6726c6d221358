import FoundationEssentials
import MandosFormats
import MandosTLS
import POSIXKit

/// The section of a client in the server's clients.conf.
struct ClientSection {
    let text: String

    /// Encrypts the password and collects the rest.
    init(
        name: String, directory: KeyDirectory, password: SecretBuffer, includesSSH: Bool, gnuPG: GnuPG,
        until stop: borrowing StopSignals
    ) throws(KeygenError) {
        let publicKey = try directory.contents(of: .tlsPublicKey)
        let keyID = try KeygenError.wrap { () throws(TLSError) in try PublicKey.read(pem: publicKey).keyID }
        let facts = try gnuPG.facts(ofKeyFile: directory.path(of: .publicKey), until: stop)
        if let expires = facts.expires, expires.millisecondsSince1970 <= Int64(Date.now.timeIntervalSince1970 * 1000) {
            throw KeygenError("the OpenPGP key expired at \(expires.rfc3339); make new keys with --force")
        }
        let message = try gnuPG.encrypt(password, for: directory, until: stop)
        text = Self.text(
            name: name, keyID: keyID, facts: facts, message: message,
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
            // The server quotes the host name for the shell when it expands it.
            lines.append(
                "checker = ssh-keyscan -t \(type) %%(host)s 2>/dev/null"
                    + " | grep --quiet --line-regexp --fixed-strings --regexp=%%(host)s\" %(ssh_fingerprint)s\"")
            lines.append("ssh_fingerprint = \(sshFingerprint)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Doubles the percent signs of a value.
    private static func escaped(_ value: String) -> String { value.replacing("%", with: "%%") }
}

/// The host key of this machine's SSH server.
enum SSHHostKey {
    /// Key types in the order of preference.
    private static let types = ["ed25519", "ecdsa-sha2-nistp256", "rsa"]
    /// How long ssh-keyscan may take, in milliseconds: longer than it waits for a server.
    private static let timeLimit: Int64 = 10_000

    /// The type and the key, as ssh-keyscan(1) prints them after the host; nil if no SSH server answers.
    static func fingerprint(until stop: borrowing StopSignals) -> String? {
        guard let path = Program.find("ssh-keyscan") else { return nil }
        for type in types {
            let output = try? Program.run(
                "asking for the SSH host key", path, [path, "-t", type, "localhost"], timeLimit: timeLimit, until: stop)
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
