@testable import MandosFormats
import Testing

@Suite struct `Durations` {
    @Test(arguments: [
        ("PT0S", 0), ("PT5M", 300_000), ("PT1H30M", 5_400_000), ("P1D", 86_400_000), ("P2W", 1_209_600_000),
        ("P1Y2M3DT4H5M6S", 36_561_906_000), ("PT1H30S", 3_630_000), ("P1DT1S", 86_401_000),
    ])
    func `as RFC 3339 writes them become milliseconds`(text: String, milliseconds: Int64) throws {
        #expect(try TimeSpan(parsing: text).milliseconds == milliseconds)
    }

    @Test(arguments: [("5m", 300_000), ("5m 30s", 330_000), ("1w", 604_800_000), ("1d 2h", 93_600_000), (" 7s ", 7000)])
    func `in the older form become milliseconds`(text: String, milliseconds: Int64) throws {
        #expect(try TimeSpan(parsing: text).milliseconds == milliseconds)
    }

    @Test(arguments: [
        ("", 0, DurationSyntaxError.Problem.empty), ("   ", 0, .empty), ("P", 1, .missingNumber),
        ("PT", 2, .missingNumber),
        ("PT5", 3, .missingUnit), ("PT5X", 3, .unknownUnit), ("PT5D", 3, .unitOutOfOrder),
        ("PT5S1M", 4, .unitOutOfOrder),
        ("PT1M1H", 5, .unitOutOfOrder), ("P1DT", 4, .missingNumber), ("5", 1, .missingUnit), ("5x", 1, .unknownUnit),
        ("-5m", 0, .missingNumber), ("P99999999999999999999Y", 1, .tooLong), ("P10001Y", 0, .tooLong),
        ("PT1.5S", 3, .unknownUnit), ("PTT1S", 2, .missingNumber), ("minutes", 0, .missingNumber),
        ("PT1ST1H", 4, .missingNumber),
    ])
    func `that are none are refused where they stop making sense`(
        text: String, offset: Int, problem: DurationSyntaxError.Problem
    ) {
        #expect(throws: DurationSyntaxError(offset: offset, problem: problem)) { try TimeSpan(parsing: text) }
    }

    @Test(arguments: ["PT0S", "PT5M", "PT1H30M", "P1D", "P2DT1S", "PT0.050S", "P14DT3H5M6.789S"])
    func `are written as RFC 3339 has them`(text: String) throws {
        let fraction = text.firstMatch(of: /\.(\d+)S/).flatMap { Int64($0.output.1) } ?? 0
        let whole = try TimeSpan(parsing: text.replacing(/\.\d+/, with: ""))
        #expect(TimeSpan(milliseconds: whole.milliseconds + fraction).rfc3339 == text)
    }

    @Test(arguments: [("10", 10_000), ("2.5", 2500), ("0", 0), (".25", 250), ("1.23456", 1234), ("3.", 3000)])
    func `in decimal seconds become milliseconds`(text: String, milliseconds: Int64) throws {
        #expect(try TimeSpan(decimalSeconds: text).milliseconds == milliseconds)
    }

    @Test(arguments: ["", "x", "-1", "1e3", "1..2", "99999999999999999999"])
    func `in decimal seconds that are no number are refused`(text: String) {
        #expect(throws: DurationSyntaxError.self) { try TimeSpan(decimalSeconds: text) }
    }
}
