public import MandosCore
import MandosFormats
import Testing

/// The digits of a key ID that no key has.
public func keyID(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: 64 - digits.count) + digits
}

/// A section of clients.conf for a client with a key ID that no key has, and with the secret "secret".
public func section(_ name: String, key: Int = 1, checker: String? = "true", _ rest: String = "") -> String {
    """
    [\(name)]
    key_id = \(keyID(key))
    secret = c2VjcmV0
    \(checker.map { "checker = \($0)\n" } ?? "")\(rest)
    """
}

extension ClientSettings {
    /// The settings in a section of clients.conf that names no other file.
    public static func parsing(_ section: String) throws -> ClientSettings {
        let file = ConfigFile.parse(Array(section.utf8), path: "clients.conf")
        try #require(file.problems.isEmpty)
        let scope = ConfigScope(section: try #require(file.sections.first), defaults: [])
        return try read(scope, readFile: { .failure(FileProblem(reason: $0)) })
    }
}
