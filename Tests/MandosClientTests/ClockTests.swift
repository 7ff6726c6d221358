import Foundation
import MandosFormats
import POSIXKit
import TestSupport
import Testing

@testable import MandosClient

@Suite struct `A key that is newer than the clock` {
    @Test(arguments: [
        // (the clock, whether the machine is booting, whether gpg is there, whether the clock is set)
        (Int64(0), false, false, true), (0, false, true, true), (0, true, true, true), (99, true, false, true),
        (101, true, false, true), (101, true, true, false), (101, false, false, false), (101, false, true, false),
    ])
    func `sets the clock if that has lost the time, or nothing else helps`(
        clock: Int64, isInitramfs: Bool, hasGnuPG: Bool, isSet: Bool
    ) {
        let rule = ClockRule(clock: clock, program: 100, isInitramfs: isInitramfs, hasGnuPG: hasGnuPG)
        #expect((rule.objection == nil) == isSet)
    }

    @Test func `decrypts with gpg`() async throws {
        let directory = try TemporaryDirectory()
        let home = directory.path + "/home"
        try FileManager.default.createDirectory(
            atPath: home, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        let batch = try directory.write(
            """
            %no-protection
            Key-Type: eddsa
            Key-Curve: ed25519
            Subkey-Type: ecdh
            Subkey-Curve: cv25519
            Name-Real: test
            %commit

            """, to: "batch")
        let gpg = ["--homedir", home, "--batch", "--quiet", "--faked-system-time"]
        // The clock that gpg is told stands still, and may be a second behind a key that was made at the same time.
        func gnupg(day: Int, _ arguments: [String], input: String = "") async throws -> Data {
            let result = try await run(
                "/usr/bin/gpg", gpg + ["2090010\(day)T000000"] + arguments, input: Data(input.utf8))
            try #require(result.status == 0, "\(result.errors)")
            return result.output
        }
        _ = try await gnupg(day: 1, ["--generate-key", batch])
        let key = try await directory.write(gnupg(day: 2, ["--armor", "--export-secret-keys"]), to: "key")
        let message = try await gnupg(
            day: 2, ["--rfc4880", "--trust-model", "always", "--recipient", "test", "--encrypt"], input: "secret")
        _ = try await run("/usr/bin/gpgconf", ["--homedir", home, "--kill", "all"])
        #expect(KeyTime.neededForDecryption(secretKeyFile: key) ?? 0 > 3_786_912_000_000, "it is of 2090")

        let decryption = Decryption(
            of: Array(message), secretKeyFile: key, programs: [.gnuPG(path: "/usr/bin/gpg")],
            temporaryPlaces: [directory.path])
        let password = try await eventually("the password") { try decryption.advance(at: .now()) }
        #expect(password.lastLine == "secret")
    }
}
