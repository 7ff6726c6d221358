import MandosFormats
import Testing

@Suite struct `RFC 3339 dates` {
    @Test(arguments: [
        ("1970-01-01", 0), ("2000-02-29", 951_782_400_000), ("2026-11-21T00:48:07Z", 1_795_222_087_000),
        ("2026-11-21T01:48:07.25+01:00", 1_795_222_087_250), ("1969-12-31T23:59:59Z", -1000),
        ("2016-12-31t23:59:60z", 1_483_228_800_000), ("2000-01-01T00:00:00-00:30", 946_686_600_000),
    ])
    func `become milliseconds since 1970`(text: String, milliseconds: Int64) throws {
        #expect(try Timestamp(rfc3339: text).millisecondsSince1970 == milliseconds)
    }

    @Test(arguments: [
        "", "soon", "2026-13-01", "2026-02-29", "1900-02-29", "2026-1-1", "2026-11-21T00:48", "2026-11-21T24:00:00Z",
        "2026-11-21T00:48:07", "2026-11-21T00:48:07.Z", "2026-11-21Z", "2026-11-21T00:48:07Zx", "+026-01-01",
        "２026-01-01",
    ])
    func `that are none are refused`(text: String) {
        #expect(throws: TimestampSyntaxError.self) { try Timestamp(rfc3339: text) }
    }

    @Test(arguments: [0, -1000, 951_782_400_000, 1_795_222_087_000, 253_402_300_799_000, -62_167_219_200_000])
    func `are written as they are read`(milliseconds: Int64) throws {
        let date = Timestamp(millisecondsSince1970: milliseconds)
        #expect(try Timestamp(rfc3339: date.rfc3339) == date)
    }

    @Test func `are written in UTC to the second`() {
        #expect(Timestamp(millisecondsSince1970: 1_795_222_087_999).rfc3339 == "2026-11-21T00:48:07Z")
    }
}
