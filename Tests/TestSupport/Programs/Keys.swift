public import Foundation
import Testing

/// A client's keys, made by a `mandos-keygen`.
public struct Keys: Sendable {
    public let directory: TemporaryDirectory

    /// The keys in a directory in which there are some.
    public init(directory: TemporaryDirectory) { self.directory = directory }

    /// The options for keys that are made quickly; RSA 4096 takes seconds.
    public static let quick = ["--type", "ed25519", "--subtype", "cv25519"]

    /// Makes keys with our program.
    public static func make(_ options: [String] = quick) async throws -> Keys {
        let directory = try TemporaryDirectory()
        let result = try await run(
            Place.program("mandos-keygen"), ["--dir", directory.path, "--name", "test"] + options)
        try #require(result.status == 0, "\(result.errors)")
        return Keys(directory: directory)
    }

    /// A section of clients.conf that gives this client `password`, made by our program.
    public func section(_ name: String, password: Data) async throws -> String {
        let file = try directory.write(password, to: "password")
        let result = try await run(
            Place.program("mandos-keygen"),
            ["--dir", directory.path, "--name", name, "--passfile", file, "--no-ssh"])
        try #require(result.status == 0, "\(result.errors)")
        return String(decoding: result.output, as: UTF8.self)
    }

    /// The options that tell a `mandos-client` where its keys are.
    public var options: [String] { Self.options(in: directory.path) }

    /// The options for our client, which leaves the network of this machine as it is.
    public var clientOptions: [String] { options + ["--interface=none", "--network-hook-dir=/nonexistent"] }

    public static func options(in directory: String) -> [String] {
        [
            "--pubkey=\(directory)/pubkey.txt", "--seckey=\(directory)/seckey.txt",
            "--tls-pubkey=\(directory)/tls-pubkey.pem", "--tls-privkey=\(directory)/tls-privkey.pem",
        ]
    }
}

/// Passwords that programs tend to get wrong, and what is special about each.
public let trickyPasswords: [String: Data] = [
    "plain": Data("correct horse".utf8),
    "spaces": Data("  two at both ends  ".utf8),
    "UTF-8": Data("pässwörd 🔑 naïve".utf8),
    "backslashes": Data(#"a\b\\c\n\0"'$HOME`"#.utf8),
    "line end": Data("ends in a newline\n".utf8),
    "4 KiB": Data((0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }),
]
