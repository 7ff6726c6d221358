import MandosFormats
import Testing

@Suite struct `Greetings` {
    @Test(arguments: ["1\r\n", "1\n", " 1 extra words\r\n", "0\r\n", "-7\n", "+1\n", "01\r\n", "\t1\t\r\n"])
    func `of a version up to 1 are accepted`(line: String) {
        #expect(Greeting.read(Array(line.utf8).span) == .accepted(length: line.utf8.count))
    }

    @Test(arguments: [
        "2\r\n", "10\n", "99999999999999999999999999\n", "\r\n", "\n", "one\r\n", "1.0\r\n", "1x\n", "- 1\n", "0x1\n",
        "\u{0}\n",
        "GET / HTTP/1.1\r\n", "--1\n", "١\n",
    ])
    func `of anything else are refused`(line: String) {
        #expect(Greeting.read(Array(line.utf8).span) == .refused)
    }

    @Test func `leave what follows them alone`() {
        #expect(Greeting.read(Array("1\r\n\u{16}\u{3}".utf8).span) == .accepted(length: 3))
    }

    @Test(arguments: ["", "1", "1\r", String(repeating: " ", count: 63)])
    func `may come in pieces`(start: String) {
        #expect(Greeting.read(Array(start.utf8).span) == .incomplete)
    }

    @Test func `have at most 64 bytes`() {
        let longest = String(repeating: " ", count: 62) + "1\n"
        #expect(Greeting.read(Array(longest.utf8).span) == .accepted(length: 64))
        #expect(Greeting.read(Array((" " + longest).utf8).span) == .refused)
        #expect(Greeting.read([UInt8](repeating: 0x31, count: 64).span) == .refused)
    }
}
