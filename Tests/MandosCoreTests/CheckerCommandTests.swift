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

    @Test func `fills in what the manual lists`() {
        let client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        #expect(client.value(of: .timeout, at: at(0), objectPath: "/clients/foo") == "PT5M")
        #expect(client.value(of: .enabled, at: at(0), objectPath: "/clients/foo") == "True")
        #expect(client.value(of: .name, at: at(0), objectPath: "/clients/foo") == "foo")
        #expect(client.value(of: .expires, at: at(0), objectPath: "/clients/foo") == at(300).wall.rfc3339)
        #expect(client.value(of: .lastCheckedOK, at: at(0), objectPath: "/clients/foo") == "")
        for field in CheckerCommand.Field.allCases {
            _ = client.value(of: field, at: at(0), objectPath: "/clients/foo")
        }
    }
}
