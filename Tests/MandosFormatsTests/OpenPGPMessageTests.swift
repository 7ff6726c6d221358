import MandosFormats
import Testing

@Suite struct `An OpenPGP message` {
    /// A packet with an old-format and one with a new-format header.
    private static let session: [UInt8] = [0x85, 0x00, 0x03, 0x03, 0xAA, 0xBB]
    private static let data: [UInt8] = [0xD2, 0x04, 0x01, 0xCC, 0xDD, 0xEE]

    @Test(arguments: [
        session + data, session + session + data,
        // A length in two bytes, in five, in parts, and up to the end.
        session + [0xD2, 192, 8, 1] + [UInt8](repeating: 0, count: 199),
        session + [0xD2, 255, 0, 0, 0, 2, 1, 0],
        session + [0xD2, 0xE1, 1, 0, 0x01, 0],
        [0xC1, 1, 3] + data,
    ])
    func `of session keys and data with a detection code is readable by all`(message: [UInt8]) {
        #expect(OpenPGPMessage.isReadableByAll(message))
    }

    @Test(arguments: [
        [], session, data, data + session, session + [0xD4, 2, 1, 9], session + [0xD2, 2, 2, 9],
        session + [0xD2], session + [0xD2, 5, 1], session + [0x12, 1, 1], session + [0xD2, 0],
        Array("-----BEGIN PGP MESSAGE-----".utf8), session + [0xC9, 1, 1],
    ])
    func `of anything else is not`(message: [UInt8]) {
        #expect(!OpenPGPMessage.isReadableByAll(message))
    }

    @Test func `that is not encrypted as a whole is recognised`() {
        let ocb: [UInt8] = [0xD4, 2, 1, 9]
        let literal: [UInt8] = [0xCB, 2, 0x62, 0]
        #expect(OpenPGPMessage.isEncrypted(Self.session + Self.data))
        #expect(OpenPGPMessage.isEncrypted(Self.session + ocb))
        #expect(!OpenPGPMessage.isEncrypted(literal))
        #expect(!OpenPGPMessage.isEncrypted(Self.session + literal))
        #expect(!OpenPGPMessage.isEncrypted(Self.session + Self.data + literal))
        #expect(!OpenPGPMessage.isEncrypted(Self.session + [0xC9, 1, 1]))
    }

    @Test func `loses its armor, and nothing else`() {
        let armored =
            "-----BEGIN PGP MESSAGE-----\r\nComment: x\r\n\r\nZm9v\r\nYg==\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n"
        #expect(OpenPGPMessage.withoutArmor(Array(armored.utf8)) == Array("foob".utf8))
        #expect(OpenPGPMessage.withoutArmor(Self.session) == Self.session)
        #expect(OpenPGPMessage.withoutArmor(Array("-----BEGIN PGP MESSAGE-----".utf8)).count < 28)
    }
}

@Suite struct `The time of an OpenPGP key` {
    @Test func `is in its first packet, whatever that looks like`() {
        let time: [UInt8] = [0x6A, 0xFF, 0x00, 0x01]
        let expected: Int64 = 0x6AFF_0001
        for header: [UInt8] in [
            [0x94, 20], [0x95, 0, 20], [0x98, 20], [0xC5, 20], [0xC6, 193, 0], [0xC5, 255, 0, 0, 0, 20],
        ] {
            for version: UInt8 in [4, 5, 6] {
                #expect(OpenPGPMessage.creationOfKey(header + [version] + time + [22, 1, 2]) == expected, "\(header)")
            }
        }
        let armored = """
            -----BEGIN PGP PRIVATE KEY BLOCK-----
            Comment: none

            lBQEav8AARYBAg==
            =aaaa
            -----END PGP PRIVATE KEY BLOCK-----

            """
        #expect(OpenPGPMessage.creationOfKey(Array(armored.utf8)) == expected)
    }

    @Test func `is not found in bytes that are no key`() {
        for bytes: [UInt8] in [
            [], [0x94], [0x94, 20], [0x94, 20, 4, 1, 2, 3], [0x85, 1, 0, 3, 1, 2, 3, 4], Array("no key".utf8),
        ] {
            #expect(OpenPGPMessage.creationOfKey(bytes) == nil)
        }
    }
}
