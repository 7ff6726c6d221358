import Foundation
import MandosFormats
import TestSupport
import Testing

@testable import mandos_keygen

@Suite struct `A key listing` {
    @Test func `tells fingerprint and expiry`() {
        let listing = """
            pub:u:4096:1:8AC6CDD27A7C93B9:1795222085:1826758085::u:::scSC::::::23::0:
            fpr:::::::::E0B69A64A37555079360E4D68AC6CDD27A7C93B9:
            uid:u::::1795222085::X::foo::::::::::0:
            sub:u:4096:1:5567E2FD9AC35138:1795222085:1826758085:::::e::::::23:
            fpr:::::::::0000000000000000000000000000000000000000:
            """
        let facts = OpenPGPKeyFacts(colonListing: listing)
        #expect(facts?.fingerprint == "E0B69A64A37555079360E4D68AC6CDD27A7C93B9")
        #expect(facts?.expires?.rfc3339 == "2027-11-21T00:48:05Z")
    }

    @Test func `tells that a key never expires`() {
        let facts = OpenPGPKeyFacts(colonListing: "pub:-:4096:1:8AC6:1795222085:::-:::\nfpr:::::::::AB:\n")
        #expect(facts != nil)
        #expect(facts?.expires == nil)
    }

    @Test(arguments: ["", "\n", "pub\nfpr", "gpg: error", "fpr:::::::::AB:\n"])
    func `that has no key is told`(listing: String) {
        #expect(OpenPGPKeyFacts(colonListing: listing) == nil)
    }
}

@Suite struct `A section` {
    private static let keyID = KeyID([UInt8](repeating: 0xAB, count: 32))

    private func text(name: String = "foo", expires: String? = nil, ssh: String? = nil) throws -> String {
        let seconds = try expires.map { try Timestamp(rfc3339: $0).millisecondsSince1970 / 1000 }
        let expiry = ":" + (seconds.map(String.init) ?? "")
        let listing = "pub:-:1:1:8AC6:0\(expiry)::\nfpr:::::::::AB12:\n"
        return ClientSection.text(
            name: name, keyID: try #require(Self.keyID), facts: try #require(OpenPGPKeyFacts(colonListing: listing)),
            message: [UInt8](repeating: 1, count: 60), sshFingerprint: ssh)
    }

    @Test func `is what the server reads`() throws {
        let file = ConfigFile.parse(Array(try text(expires: "2027-01-31").utf8), path: "f")
        #expect(file.problems.isEmpty)
        let scope = ConfigScope(section: file.sections[0], defaults: [])
        #expect(file.sections[0].name == "foo")
        #expect(try scope.value("host") == "foo")
        #expect(try scope.value("key_id") == Self.keyID?.description)
        #expect(try scope.value("fingerprint") == "AB12")
        #expect(try scope.value("key_expires") == "2027-01-31T00:00:00Z")
        #expect(try Base64.decode(try #require(try scope.value("secret"))) == [UInt8](repeating: 1, count: 60))
    }

    @Test func `quotes percent signs`() throws {
        let file = ConfigFile.parse(Array(try text(name: "a%b").utf8), path: "f")
        #expect(try ConfigScope(section: file.sections[0], defaults: []).value("host") == "a%b")
    }

    @Test func `checks the SSH host key if there is one`() throws {
        let file = ConfigFile.parse(Array(try text(ssh: "ssh-ed25519 AAAA").utf8), path: "f")
        let scope = ConfigScope(section: file.sections[0], defaults: [])
        let checker = try #require(try scope.value("checker"))
        #expect(checker.hasPrefix("ssh-keyscan -t ssh-ed25519 %(host)s "))
        #expect(checker.hasSuffix("%(host)s\" ssh-ed25519 AAAA\""))
    }
}

@Suite struct `The key directory` {
    @Test func `keeps numbered backups, and all files to itself`() throws {
        let place = try TemporaryDirectory()
        let directory = try KeyDirectory(path: place.path)
        #expect(directory.existingFile == nil)
        for version in UInt8(1)...3 {
            try directory.install([(.secretKey, [version]), (.tlsPublicKey, [version, version])])
        }
        #expect(directory.existingFile == directory.path(of: .secretKey))
        let contents = try FileManager.default.contentsOfDirectory(atPath: place.path).sorted()
        #expect(
            contents == [
                "seckey.txt", "seckey.txt.~1~", "seckey.txt.~2~", "tls-pubkey.pem", "tls-pubkey.pem.~1~",
                "tls-pubkey.pem.~2~",
            ])
        for (name, version) in [("seckey.txt", 3), ("seckey.txt.~2~", 2), ("seckey.txt.~1~", 1)] as [(String, UInt8)] {
            #expect(FileManager.default.contents(atPath: place.path + "/" + name) == Data([version]))
            let mode =
                try FileManager.default.attributesOfItem(atPath: place.path + "/" + name)[.posixPermissions] as? Int
            #expect(mode == 0o600)
        }
    }

    @Test func `that is not there is told`() {
        #expect(throws: KeygenError.self) { try KeyDirectory(path: "/nonexistent") }
        #expect(throws: KeygenError.self) { try KeyDirectory(path: "/etc/passwd") }
    }
}
