import MandosFormats
import TestSupport
import Testing

private func parse(_ text: String) -> ConfigFile { ConfigFile.parse(Array(text.utf8), path: "clients.conf") }

@Suite struct `Configuration files` {
    @Test func `have sections of options`() {
        let file = parse(
            """
            # a comment
            [DEFAULT]
            timeout = PT5M

            [foo]
            Host: foo.example.org
            ; another
            checker=a=b:c

            [Bar baz]
            empty =
            """)
        #expect(file.problems.isEmpty)
        #expect(file.defaults["timeout"]?.value == "PT5M")
        #expect(file.sections.map(\.name) == ["foo", "Bar baz"])
        #expect(file.sections[0].options.map(\.name) == ["host", "checker"])
        #expect(file.sections[0].options.map(\.value) == ["foo.example.org", "a=b:c"])
        #expect(file.sections[0].options.map(\.line) == [6, 8])
        #expect(file.sections[1]["empty"]?.value == "")
    }

    @Test func `continue values on indented lines, across comments and empty lines`() {
        let file = parse("[foo]\nsecret =\n  one\n# comment\n\ttwo\n  ; another\n\n three\nhost = h\n\n\n")
        #expect(file.problems.isEmpty)
        #expect(file.sections[0]["secret"]?.value == "one\ntwo\n\nthree")
        #expect(file.sections[0]["host"]?.value == "h")
    }

    @Test func `may have carriage returns, a missing last line end, and indented sections`() {
        let file = parse("  [foo]\r\n  host = a\r\n  port = b")
        #expect(file.problems.isEmpty)
        #expect(file.sections[0].options.map(\.value) == ["a", "b"])
    }

    @Test func `may have DEFAULT in several parts`() {
        let file = parse("[DEFAULT]\na=1\n[foo]\n[DEFAULT]\nb=2\n")
        #expect(file.problems.isEmpty)
        #expect(file.defaults.options.map(\.name) == ["a", "b"])
    }

    @Test(arguments: [
        ("host = a\n", 1, "before any section"),
        ("[foo]\nhost\n", 2, "neither an option nor a section"),
        ("[foo]\n= a\n", 2, "no option name"),
        ("[]\n", 1, "section header needs a name"),
        ("[foo\nhost = a\n", 1, "section header needs a name"),
        ("[foo] bar\n", 1, "text after the section header"),
        ("[foo]\n\n[foo]\n", 3, "it began at line 1"),
        ("[foo]\nhost = a\nHOST = b\n", 3, "also at line 2"),
        ("[DEFAULT]\na=1\n[foo]\n[DEFAULT]\na=2\n", 5, "also at line 2"),
        ("[a\u{0}b]\n", 1, "control characters"), ("[a\tb]\n", 1, "control characters"),
        ("[" + String(repeating: "x", count: 1025) + "]\n", 1, "1025 bytes long"),
    ])
    func `say what is wrong with a line`(text: String, line: Int, message: String) throws {
        let problems = parse(text).problems
        try #require(problems.count == 1)
        #expect(problems[0].line == line)
        #expect(problems[0].message.contains(message), "\(problems[0])")
    }

    @Test func `say everything that is wrong`() {
        let problems = parse("x\n[foo]\nbad\nhost = a\nhost = b\n[foo]\ny=1\n").problems
        #expect(problems.map(\.line) == [1, 3, 5, 6])
        #expect(problems[2].description == "clients.conf:5: host: is here twice in [foo]: also at line 4; remove one")
    }

    @Test func `are UTF-8`() {
        let file = ConfigFile.parse(Array("[foo]\nhost = ".utf8) + [0xFF] + Array("\nname = Zoë\n".utf8), path: "f")
        #expect(file.problems.map(\.line) == [2])
        #expect(file.sections[0]["name"]?.value == "Zoë")
    }

    @Test func `of random bytes never trap`() {
        var generator = SeededGenerator(seed: 7)
        let alphabet = Array("[]=:#; \t\n\r%()sDEFAULTa\u{FF}".utf8) + [0, 0xC3, 0xFF]
        for _ in 0..<3000 {
            let bytes = (0..<Int.random(in: 0...80, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            let file = ConfigFile.parse(bytes, path: "f")
            for section in file.sections {
                let scope = ConfigScope(section: section, defaults: [file.defaults])
                for option in section.options { _ = try? scope.value(option.name) }
            }
        }
    }
}

@Suite struct `Start-time expansion` {
    private func value(_ name: String, of text: String) throws -> String? {
        let file = parse(text)
        return try ConfigScope(section: file.sections[0], defaults: [file.defaults]).value(name)
    }

    @Test(arguments: [
        ("[foo]\na = x%(b)sz\nb = y\n", "xyz"),
        ("[DEFAULT]\nb = d\n[foo]\na = %(B)s\n", "d"),
        ("[DEFAULT]\nb = d\n[foo]\na = %(b)s\nb = f\n", "f"),
        ("[DEFAULT]\na = %(b)s\n[foo]\nb = f\n", "f"),
        ("[foo]\na = 100%%\n", "100%"),
        ("[foo]\na = %%(host)s\n", "%(host)s"),
        ("[foo]\na = %(b)s\nb = %(c)s%%\nc = %%\n", "%%"),
    ])
    func `replaces references and double percent signs`(text: String, value: String) throws {
        #expect(try self.value("a", of: text) == value)
    }

    @Test(arguments: [
        ("[foo]\na = %(nothing)s\n", 2, "no option \"nothing\" in [foo] or [DEFAULT]"),
        ("[foo]\na = 5%\n", 2, "write %% for a percent sign"),
        ("[foo]\na = %d\n", 2, "write %% for a percent sign"),
        ("[foo]\na = %(b)\nb = 1\n", 2, "write %% for a percent sign"),
        ("[foo]\na = %(b\nb = 1\n", 2, "write %% for a percent sign"),
        ("[foo]\na = %(a)s\n", 2, "refers to itself"),
        ("[foo]\na = %(b)s\nb = %(a)s\n", 2, "refers to itself"),
        ("[DEFAULT]\na = %\n[foo]\n", 2, "write %%"),
    ])
    func `says at which line it cannot`(text: String, line: Int, message: String) throws {
        let problem = try #require(throws: ConfigProblem.self) { try self.value("a", of: text) }
        #expect(problem.line == line)
        #expect(problem.message.contains(message), "\(problem)")
    }

    @Test(arguments: ["", "x"]) func `does not grow, or work, without a limit`(last: String) throws {
        let lines = (0..<9).map { "a\($0) = " + String(repeating: "%(a\($0 + 1))s", count: 100) }
        let text = "[foo]\n" + lines.joined(separator: "\n") + "\na9 = \(last)\n"
        let problem = try #require(throws: ConfigProblem.self) { try value("a0", of: text) }
        #expect(problem.message.contains("needs more than 10000 expansions"))
    }

    @Test func `does not make values of any length`() throws {
        let text =
            "[foo]\na = " + String(repeating: "%(b)s", count: 100) + "\nb = \(String(repeating: "x", count: 1000))\n"
        let problem = try #require(throws: ConfigProblem.self) { try value("a", of: text) }
        #expect(problem.message.contains("expands to more than"))
    }
}
