import POSIXKit

/// A program that can decrypt an OpenPGP message.
public enum DecryptionProgram: Equatable, Sendable {
    /// A program with the Stateless OpenPGP command line interface: `PROGRAM decrypt KEYFILE`.
    case stateless(path: String)
    /// GnuPG, which needs a home directory and leaves an agent running.
    case gnuPG(path: String)

    /// The standard directories: a set-uid program must not trust the environment.
    private static let directories = ["/usr/bin/", "/bin/", "/usr/local/bin/"]
    private static let statelessNames = ["sqop", "rsop", "gosop"]

    /// The installed programs, in the order in which to try them: the fastest first, the most versatile last.
    public static func installed() -> [DecryptionProgram] {
        let stateless = statelessNames.compactMap { find($0) }.map { DecryptionProgram.stateless(path: $0) }
        return stateless + (find("gpg").map { [.gnuPG(path: $0)] } ?? [])
    }

    private static func find(_ name: String) -> String? {
        for directory in directories {
            let path = directory + name
            if isExecutable(path) { return path }
        }
        return nil
    }

    public var path: String {
        switch self {
        case .stateless(let path), .gnuPG(let path): path
        }
    }
}
