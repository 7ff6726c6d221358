import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `mandos-keygen` {
    private static let program = Place.program("mandos-keygen")

    /// The password that a section gives, by our client's own way of decrypting.
    private func password(in section: String, _ keys: Keys) async throws -> Data {
        let server = try await Server(clients: section)
        let client = try client(keys, [server.address])
        #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
        return client.output
    }

    @Test func `asks for a password twice, without echo, and strips white space`() async throws {
        let keys = try await Keys.make()
        let terminal = try Terminal()
        let options = ["--password", "--dir", keys.directory.path, "--name", "foo", "--no-ssh"]
        let keygen = try RunningProgram(Self.program, options, terminal: terminal)
        var shown = try await terminal.shows("Password: ")
        #expect(!terminal.echoes)
        try terminal.type("  pass wörd \n")
        shown += try await terminal.shows("The same again: ")
        try terminal.type("pass wörd\n")
        #expect(try await keygen.ending() == .exit(status: 0), "\(keygen.errors)")
        #expect(!shown.contains("wörd"))
        #expect(terminal.echoes)
        let section = String(decoding: keygen.output, as: UTF8.self)
        #expect(section.hasPrefix("[foo]\n"))
        #expect(try await password(in: section, keys) == Data("pass wörd".utf8))
    }

    @Test func `refuses two passwords that differ, and an empty one`() async throws {
        let keys = try await Keys.make()
        for (first, second, message) in [("a\n", "b\n", "differ"), (" \n", "", "empty")] {
            let terminal = try Terminal()
            let keygen = try RunningProgram(
                Self.program, ["--password", "--dir", keys.directory.path], terminal: terminal)
            _ = try await terminal.shows("Password: ")
            try terminal.type(first)
            if !second.isEmpty {
                _ = try await terminal.shows("again: ")
                try terminal.type(second)
            }
            #expect(try await keygen.ending() == .exit(status: 1))
            #expect(keygen.errors.contains(message))
            #expect(keygen.output.isEmpty)
        }
    }

    @Test func `refuses a typed password that the terminal cuts off`() async throws {
        let keys = try await Keys.make()
        let terminal = try Terminal()
        let keygen = try RunningProgram(
            Self.program, ["--password", "--dir", keys.directory.path, "--no-ssh"], terminal: terminal)
        _ = try await terminal.shows("Password: ")
        try terminal.type(String(repeating: "x", count: 10_000) + "\n")
        #expect(try await keygen.ending() == .exit(status: 1))
        #expect(
            keygen.errors
                == "mandos-keygen: the password is longer than 4094 bytes; write it into a file, and use --passfile\n")
        #expect(terminal.echoes)
        #expect(keygen.output.isEmpty)
    }

    @Test func `restores the terminal at Ctrl-C, also while it asks the second time`() async throws {
        let keys = try await Keys.make()
        for first in ["", "password\n"] {
            let terminal = try Terminal()
            let keygen = try RunningProgram(
                Self.program, ["--password", "--dir", keys.directory.path], terminal: terminal)
            _ = try await terminal.shows("Password: ")
            if !first.isEmpty {
                try terminal.type(first)
                _ = try await terminal.shows("again: ")
            }
            #expect(!terminal.echoes)
            try terminal.type("half\u{3}")
            #expect(try await keygen.ending() == .signal(SIGINT))
            #expect(terminal.echoes)
            #expect(keygen.output.isEmpty)
        }
    }

    @Test func `reads a long password from a pipe`() async throws {
        let keys = try await Keys.make()
        let long = String(repeating: "x", count: 10_000)
        let result = try await run(
            Self.program, ["-p", "-d", keys.directory.path, "-n", "foo", "-S"], input: Data((long + "\n").utf8))
        #expect(result.status == 0, "\(result.errors)")
        #expect(try await password(in: String(decoding: result.output, as: UTF8.self), keys) == Data(long.utf8))
    }

    @Test func `restores the terminal when it is interrupted`() async throws {
        let keys = try await Keys.make()
        let terminal = try Terminal()
        let keygen = try RunningProgram(Self.program, ["--password", "--dir", keys.directory.path], terminal: terminal)
        _ = try await terminal.shows("Password: ")
        #expect(!terminal.echoes)
        keygen.signal(SIGTERM)
        _ = try await keygen.ending()
        #expect(terminal.echoes)
        #expect(keygen.output.isEmpty)
    }

    @Test func `reads a password from a pipe without asking`() async throws {
        let keys = try await Keys.make()
        let result = try await run(
            Self.program, ["-p", "-d", keys.directory.path, "-n", "foo", "-S"], input: Data("piped \nrest".utf8))
        #expect(result.status == 0, "\(result.errors)")
        #expect(try await password(in: String(decoding: result.output, as: UTF8.self), keys) == Data("piped".utf8))
    }

    @Test func `checks the SSH host key if this host has one`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try directory.writeScript(
            """
            [ "$1" = -t ] && [ "$3" = localhost ] || exit 1
            echo "# localhost:22 SSH-2.0-Fake" >&2
            [ "$2" = ed25519 ] || echo "localhost $2 AAAAkey"

            """, to: "ssh-keyscan")
        let password = try directory.write("secret", to: "password")
        let result = try await run(
            Self.program, ["-F", password, "-d", keys.directory.path, "-n", "foo"],
            environment: ["PATH": directory.path + ":/usr/bin:/bin"])
        #expect(result.status == 0, "\(result.errors)")
        let section = String(decoding: result.output, as: UTF8.self)
        #expect(section.contains("\nssh_fingerprint = ecdsa-sha2-nistp256 AAAAkey\n"))
        #expect(section.contains("\nchecker = ssh-keyscan -t ecdsa-sha2-nistp256 %%(host)s 2>/dev/null | grep "))
        #expect(try await self.password(in: section, keys) == Data("secret".utf8))
    }

    @Test func `encrypts in the form that all programs read, also where gpg would rather not`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        // Like GnuPG 2.4 with a key that claims OCB: packet tag 20, until the claim is taken back.
        try directory.writeScript(
            """
            case "$*" in
                *--quick-update-pref*) touch "\(directory.path)/changed"; exit 0 ;;
                *--recipient-file*) cat >/dev/null; printf '\\301\\001\\003\\324\\002\\001\\011' ;;
                *) exec /usr/bin/gpg "$@" ;;
            esac

            """, to: "gpg")
        let file = try directory.write("secret", to: "password")
        let result = try await run(
            Self.program, ["-F", file, "-d", keys.directory.path, "-n", "foo", "-S"],
            environment: ["PATH": directory.path + ":/usr/bin:/bin"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(directory.contains("changed"))
        #expect(try await password(in: String(decoding: result.output, as: UTF8.self), keys) == Data("secret".utf8))
    }

    @Test(arguments: [
        (["--type", "NONSENSE"], "making the OpenPGP key: "),
        (["--expire", "yesterday"], "making the OpenPGP key: "),
        (["--tls-keytype", "dsa"], "--tls-keytype"),
        (["--name", ""], "the name is empty"),
        (["--name", "two\nlines"], "control characters"),
        (["--password", "--test"], "choose one"),
        (["--connect", "::1:1"], "--connect belongs to --test"),
        (["--passfile", "/nonexistent"], "opening /nonexistent: No such file or directory"),
        (["--test"], "tls-privkey.pem: No such file or directory"),
        (["extra"], "extra"),
    ])
    func `says what is wrong, and writes nothing`(options: [String], message: String) async throws {
        let directory = try TemporaryDirectory()
        let result = try await run(Self.program, ["--dir", directory.path] + options)
        #expect(result.status != 0)
        #expect(result.errors.contains(message), "\(result.errors)")
        #expect(result.output.isEmpty)
        #expect(try directory.names().isEmpty)
    }

    @Test func `cleans up when it is interrupted while it makes keys`() async throws {
        let directory = try TemporaryDirectory()
        let temporary = try TemporaryDirectory()
        let programs = try TemporaryDirectory()
        // It never ends by itself, so it is certain to be interrupted.
        try programs.writeScript("exec sleep 1000\n", to: "gpg")
        let keygen = try RunningProgram(
            Self.program, ["--dir", directory.path],
            environment: ["TMPDIR": temporary.path, "PATH": programs.path + ":/usr/bin:/bin"])
        _ = try await keygen.line(with: "making the OpenPGP key")
        keygen.signal(SIGTERM)
        #expect(try await keygen.ending() == .signal(SIGTERM))
        #expect(try temporary.names().isEmpty)
        #expect(try directory.names().isEmpty)
    }
}
