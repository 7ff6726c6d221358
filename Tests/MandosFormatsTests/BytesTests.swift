import MandosFormats
import Testing

@Suite struct `Byte helpers` {
    @Test(arguments: [("", ""), (" a b ", "a b"), ("\t\u{B}\r\n", ""), ("a", "a")])
    func `trim white space`(text: String, result: String) {
        #expect(trimmed(Array(text.utf8)[...]) == Array(result.utf8)[...])
    }

    @Test(
        arguments: [
            ("0", 0), ("4711", 4711), ("9223372036854775807", .max), ("9223372036854775808", .max),
            ("99999999999999999999999", .max), ("", nil), ("-1", nil), ("1 ", nil), ("1a", nil),
        ] as [(String, Int64?)])
    func `read decimal numbers`(text: String, number: Int64?) { #expect(decimalNumber(text.utf8) == number) }
}

@Suite struct `A back-off` {
    @Test func `doubles its pauses up to a limit, and ends`() {
        var backoff = Backoff(first: 100, longest: 500, most: 5)
        #expect((0..<6).map { _ in backoff.next() } == [100, 200, 400, 500, 500, nil])
        #expect(backoff.count == 5)
    }

    @Test func `begins again`() {
        var backoff = Backoff(first: 100, longest: 500, most: 1)
        #expect(backoff.next() == 100 && backoff.next() == nil)
        backoff.reset()
        #expect(backoff.next() == 100)
    }
}
