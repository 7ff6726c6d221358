import MandosFormats
import Testing

@Suite struct `Text for logs and terminals` {
    @Test(arguments: [
        ("", ""), ("plain ~", "plain ~"), ("höst ☃ 🔑", "höst ☃ 🔑"), ("a\nb\tc\r\nd", "a b c  d"),
        ("\u{1B}[2J", "\\u{1b}[2J"), ("\u{0}\u{7F}", "\\u{0}\\u{7f}"), ("\u{9B}2J\u{85}", "\\u{9b}2J\\u{85}"),
        ("\u{80}\u{9F}\u{A0}", "\\u{80}\\u{9f}\u{A0}"), ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
        ("\u{61C}\u{200E}\u{200F}", "\\u{61c}\\u{200e}\\u{200f}"), ("\u{202A}\u{202E}", "\\u{202a}\\u{202e}"),
        ("\u{2066}\u{2069}", "\\u{2066}\\u{2069}"),
    ])
    func `has one line, and nothing that they obey`(text: String, line: String) {
        #expect(singleLine(text) == line)
    }

    @Test func `keeps its lines and tabs if it may have several`() {
        let kept = printable(Array("a\n\tb\r\u{9B}\u{202E}".utf8), keepingLines: true)
        #expect(String(decoding: kept, as: UTF8.self) == "a\n\tb \\u{9b}\\u{202e}")
    }

    @Test func `that ends in the middle of a character does no harm`() {
        for bytes: [UInt8] in [[0xC2], [0xE2, 0x80], [0xF0, 0x9F], [0x9B]] {
            #expect(printable(bytes, keepingLines: false) == bytes)
        }
    }

    @Test func `quoted from a configuration file does not change the order of a message`() {
        let file = ConfigFile.parse(Array("[a\u{202E}b]\nx = 1\nx = 2\n".utf8), path: "f\u{9B}")
        #expect(
            file.problems.map(\.description) == [
                "f\\u{9b}:3: x: is here twice in [a\\u{202e}b]: also at line 2; remove one"
            ])
    }
}
