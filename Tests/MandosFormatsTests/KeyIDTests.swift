import MandosFormats
import Testing

@Suite struct `Key IDs` {
    static let digits = "788cd77115cd0bb7b2d5e0ae8496f6b48149d5e712c652076b1fd2d957ef7c1f"

    @Test(arguments: [digits, digits.uppercased(), "788CD771 15cd0bb7" + digits.dropFirst(16), " " + digits + "\n"])
    func `are the same in either case and with spaces`(text: String) throws {
        let keyID = try #require(KeyID(hexadecimal: text))
        #expect(keyID.description == Self.digits)
        #expect(keyID == KeyID(hexadecimal: Self.digits))
        #expect(keyID.hashValue == KeyID(hexadecimal: Self.digits)?.hashValue)
    }

    @Test(arguments: ["", "78", String(digits.dropLast()), digits + "00", "x" + digits.dropFirst(), "−" + digits])
    func `have 64 hexadecimal digits`(text: String) {
        #expect(KeyID(hexadecimal: text) == nil)
    }

    @Test func `differ when one bit does`() throws {
        let bytes = try #require(Hexadecimal.decode(Self.digits))
        for bit in 0..<256 {
            var other = bytes
            other[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(KeyID(other) != KeyID(bytes))
        }
    }

    @Test func `of no key at all do not exist`() {
        #expect(KeyID(hexadecimal: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == nil)
    }
}

@Suite struct `Base64 text` {
    @Test(arguments: [
        ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("\n Zm9v\n  YmFy ", "foobar"), ("Zm9vYg==", "foob"),
    ])
    func `decodes, white space and all`(text: String, decoded: String) throws {
        #expect(try Base64.decode(text) == Array(decoded.utf8))
    }

    @Test(arguments: [
        ("Zg", Base64.Problem.truncated), ("Z", .truncated), ("Zg=", .truncated), ("Zg===", .truncated),
        ("Zm9v=", .truncated), ("Zg==Zg==", .notInAlphabet), ("Zm-v", .notInAlphabet), ("Zmé9", .notInAlphabet),
        ("====", .truncated),
    ])
    func `refuses what is none`(text: String, problem: Base64.Problem) {
        #expect(throws: problem) { try Base64.decode(text) }
    }
}
