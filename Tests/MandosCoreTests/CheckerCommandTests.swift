import MandosFormats
import Testing

@testable import MandosCore

@Suite struct `A checker command` {
    private func expanded(_ template: String, host: String) throws -> String {
        try CheckerCommand(parsing: template).expanded { $0 == .host ? host : "other" }
    }

    @Test(arguments: [
        "plain.example.org", "two words", "$(touch /tmp/x)", "`id`", "a'b", "'; rm -rf /; '", "\"", "\\", "-n", "*",
        "new\nline", "", "🔑",
    ])
    func `gives the shell each value as one word, whatever is in it`(host: String) throws {
        let command = try expanded("printf %%s %(host)s", host: host)
        #expect(command == "printf %s " + CheckerCommand.quoted(host))
        // Between quotes nothing but a quote ends the quoting.
        let inner = command.dropFirst("printf %s '".count).dropLast()
        #expect(inner.replacing(#"'\''"#, with: "’").contains("'") == false)
    }

    @Test func `leaves a value without special characters as it is`() throws {
        #expect(try expanded("%(host)s", host: "a_b@c%+=:,./-1") == "a_b@c%+=:,./-1")
    }

    @Test(arguments: [
        (0, "0:00:00"), (1, "0:00:00.001000"), (300_000, "0:05:00"), (86_400_000, "1 day, 0:00:00"),
        (93_784_500, "1 day, 2:03:04.500000"), (1_209_600_000, "14 days, 0:00:00"),
    ])
    func `gets spans of time as Python writes them`(milliseconds: Int64, text: String) {
        #expect(CheckerText.of(TimeSpan(milliseconds: milliseconds)) == text)
    }

    @Test(arguments: [
        (nil, "None"), (1_800_000_000_000, "2027-01-15 08:00:00"), (1_800_000_000_123, "2027-01-15 08:00:00.123000"),
        (-1, "1969-12-31 23:59:59.999000"),
    ])
    func `gets points in time as Python writes them`(milliseconds: Int64?, text: String) {
        #expect(CheckerText.of(milliseconds.map { Timestamp(millisecondsSince1970: $0) }) == text)
    }

    @Test func `fills in what the manual lists`() {
        let client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        #expect(client.value(of: .timeout, at: at(0), objectPath: "/clients/foo") == "0:05:00")
        #expect(client.value(of: .enabled, at: at(0), objectPath: "/clients/foo") == "True")
        #expect(client.value(of: .name, at: at(0), objectPath: "/clients/foo") == "foo")
        #expect(client.value(of: .expires, at: at(0), objectPath: "/clients/foo") == CheckerText.of(at(300).wall))
        #expect(client.value(of: .lastCheckedOK, at: at(0), objectPath: "/clients/foo") == "None")
        #expect(client.value(of: .keyID, at: at(0), objectPath: "").allSatisfy { !$0.isLowercase })
        for field in CheckerCommand.Field.allCases {
            _ = client.value(of: field, at: at(0), objectPath: "/clients/foo")
        }
    }
}
