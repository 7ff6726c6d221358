import MandosFormats
import Testing

@testable import MandosCore

private let required = "key_id = 788cd77115cd0bb7b2d5e0ae8496f6b48149d5e712c652076b1fd2d957ef7c1f\nsecret = c2VjcmV0\n"

private func read(_ options: String, defaults: String = "") throws -> ClientSettings {
    let text = "[DEFAULT]\n" + defaults + "[foo]\n" + options
    let file = ConfigFile.parse(Array(text.utf8), path: "clients.conf")
    try #require(file.problems.isEmpty)
    return try ClientSettings.read(ConfigScope(section: file.sections[0], defaults: [file.defaults])) { path in
        path == "/there"
            ? .success(Array("contents".utf8))
            : .failure(FileProblem(reason: "opening \(path): No such file or directory"))
    }
}

@Suite struct `A client's section` {
    @Test func `has the manual's defaults`() throws {
        let client = try read(required)
        #expect(client.name == "foo")
        #expect(client.secret == Secret(Array("secret".utf8)))
        #expect(client.host == "")
        #expect(client.checker.template == "fping -q -- %(host)s")
        #expect(client.timeout == .minutes(5))
        #expect(client.extendedTimeout == .minutes(15))
        #expect(client.interval == .minutes(2))
        #expect(client.approvalDelay == .zero)
        #expect(client.approvalDuration == .seconds(1))
        #expect(client.approvedByDefault)
        #expect(client.enabled)
        #expect(client.keyExpires == nil)
    }

    @Test func `overrides them`() throws {
        let client = try read(
            """
            fingerprint = 7788 2722 5ba7
            KEY_ID: 788CD771 15cd0bb7b2d5e0ae8496f6b48149d5e712c652076b1fd2d957ef7c1f
            secfile = /there
            host = h
            checker = check %%(host)s
            timeout = 10m
            extended_timeout = PT1H
            interval = PT10S
            approval_delay = PT30S
            approval_duration = PT5S
            approved_by_default = Off
            enabled = no
            key_expires = 2027-01-31

            """, defaults: "timeout = PT1M\n")
        #expect(client.fingerprint == "778827225BA7")
        #expect(client.keyID?.description.hasPrefix("788cd77115cd0bb7") == true)
        #expect(client.secret == Secret(Array("contents".utf8)))
        #expect(client.host == "h")
        #expect(client.checker.template == "check %(host)s")
        #expect(client.timeout == .minutes(10))
        #expect(client.extendedTimeout == .minutes(60))
        #expect(client.interval == .seconds(10))
        #expect(client.approvalDelay == .seconds(30))
        #expect(client.approvalDuration == .seconds(5))
        #expect(!client.approvedByDefault)
        #expect(!client.enabled)
        #expect(client.keyExpires?.rfc3339 == "2027-01-31T00:00:00Z")
    }

    @Test func `takes from DEFAULT the options that it does not set itself`() throws {
        #expect(try read(required, defaults: "timeout = PT1M\n").timeout == .minutes(1))
    }

    @Test(arguments: ["1", "yes", "TRUE", "On"]) func `says yes in four ways`(text: String) throws {
        #expect(
            try read(required + "approved_by_default = \(text)\n", defaults: "approved_by_default = no\n")
                .approvedByDefault)
    }

    @Test(arguments: [
        ("secret = c2VjcmV0\n", "[foo]: key_id: is required"),
        ("key_id =\nsecret = c2VjcmV0\n", "key_id: is required"),
        ("key_id = 1234\nsecret = c2VjcmV0\n", "a key ID is 64 hexadecimal digits"),
        ("fingerprint = xyz\nsecret = c2VjcmV0\n", "not hexadecimal"),
        ("fingerprint = 12\n", "secret: is required, or secfile"),
        ("fingerprint = 12\nsecret =\n", "secret: is empty"),
        ("fingerprint = 12\nsecret = c2Vj*\n", "secret: not Base64"),
        ("fingerprint = 12\nsecfile = /not/there\n", "secfile: opening /not/there: No such file"),
        (required + "timeout = 5\n", "timeout: \"5\": a unit is missing at position 2; write a duration such as PT5M"),
        (required + "timeout = PT5X\n", "timeout: \"PT5X\": unknown unit at position 4"),
        (required + "timeout =\n", "timeout: \"\": empty duration"),
        (required + "interval = PT0S\n", "interval: must be greater than zero"),
        (required + "enabled = perhaps\n", "enabled: \"perhaps\" is neither yes nor no"),
        (required + "checker =\n", "checker: empty command"),
        (required + "checker = ping %%(hots)s\n", "%%(hots)s is not a field that checkers can refer to"),
        (required + "checker = echo 5%%\n", "checker: when the checker runs"),
        (required + "checker = ping %(nothing)s\n", "there is no option \"nothing\""),
        (required + "key_expires = soon\n", "key_expires: \"soon\" is not a date"),
    ])
    func `says what is wrong with an option, and what would be right`(options: String, message: String) throws {
        let problems = try #require(throws: ConfigProblems.self) { try read(options) }.problems
        try #require(problems.count == 1, "\(problems)")
        #expect(problems[0].description.contains(message), "\(problems[0])")
        #expect(!problems[0].description.contains("\n"))
    }

    @Test func `says everything that is wrong`() throws {
        let problems = try #require(throws: ConfigProblems.self) { try read("timeout = x\ninterval = y\n") }.problems
        #expect(problems.count == 4)
    }

    @Test func `tells a problem at the line in DEFAULT where the value is`() throws {
        let problems = try #require(throws: ConfigProblems.self) { try read(required, defaults: "timeout = x\n") }
            .problems
        #expect(problems.map(\.line) == [2])
    }
}

@Suite struct `Defaults of a client's options` {
    @Test(arguments: ClientSettings.defaultTexts.keys.sorted())
    func `are the same when they are written down`(name: String) throws {
        let text = try #require(ClientSettings.defaultTexts[name])
        #expect(try read(required + "\(name) = \(text)\n") == read(required))
    }

    @Test func `can be referred to, unless the file has another value`() throws {
        let client = try read(
            required
                + "extended_timeout = %(timeout)s\nchecker = echo %(interval)s %(enabled)s '%(host)s' %(x)s\nx = 1\n")
        #expect(client.extendedTimeout == .minutes(5))
        #expect(client.checker.template == "echo PT2M True '' 1")
        let other = try read(required + "extended_timeout = %(timeout)s\n", defaults: "timeout = PT7M\n")
        #expect(other.extendedTimeout == .minutes(7))
        #expect(throws: ConfigProblems.self) { try read(required + "host = %(key)s\n") }
    }
}

@Suite struct `mandos.conf` {
    private func read(_ text: String) throws -> ServerSettings {
        try ServerSettings.read(ConfigFile.parse(Array(("[DEFAULT]\n" + text).utf8), path: "mandos.conf").defaults)
    }

    @Test func `has the manual's defaults, also where values are empty`() throws {
        #expect(try read("") == ServerSettings())
        #expect(
            try read("interface = \naddress =\nport =\npriority=\nsocket =\nservicename=\nstatedir=\n")
                == ServerSettings())
        #expect(ServerSettings().serviceName == "Mandos")
        #expect(ServerSettings().stateDirectory == "/var/lib/mandos")
        #expect(ServerSettings().logLevels == LogLevels(.warning))
    }

    @Test func `overrides them`() throws {
        let settings = try read(
            """
            interface = enp1s0
            address = fe80::1
            port = 1025
            debug = True
            priority = SECURE256
            servicename = Daena
            use_dbus = False
            use_ipv6 = no
            restore = 0
            statedir = /tmp
            foreground = on
            socket = 3
            zeroconf = off
            debuglevel = info

            """)
        var expected = ServerSettings()
        expected.interface = "enp1s0"
        expected.address = "fe80::1"
        expected.port = 1025
        expected.debug = true
        expected.priority = "SECURE256"
        expected.serviceName = "Daena"
        expected.useDBus = false
        expected.useIPv6 = false
        expected.restore = false
        expected.stateDirectory = "/tmp"
        expected.foreground = true
        expected.socket = 3
        expected.zeroconf = false
        expected.logLevels = LogLevels(.info)
        #expect(settings == expected)
    }

    @Test(arguments: ["port = 0", "port = 65536", "port = http", "socket = -1", "debug = maybe", "debuglevel = LOUD"])
    func `says which value is wrong`(line: String) throws {
        let problems = try #require(throws: ConfigProblems.self) { try read(line + "\n") }.problems
        #expect(problems.map(\.line) == [2])
    }
}

@Suite struct `Unknown options` {
    private func warnings(_ text: String) -> [String] {
        let file = ConfigFile.parse(Array(text.utf8), path: "clients.conf")
        let scope = ConfigScope(section: file.sections[0], defaults: [])
        return OptionSpelling.warnings(
            for: file.sections[0], known: ClientSettings.optionNames, referenced: { scope.referencedNames }
        ).map(\.description)
    }

    @Test func `are told with the nearest known one`() {
        #expect(
            warnings("[foo]\ntiemout = 1\nhost = x\n") == [
                "clients.conf:2: tiemout: unknown option, ignored; did you mean \"timeout\"?"
            ])
        #expect(warnings("[foo]\ncolour = red\n") == ["clients.conf:2: colour: unknown option, ignored"])
    }

    @Test func `that others refer to are not told`() {
        #expect(warnings("[foo]\nssh_fingerprint = x\nchecker = y %(ssh_fingerprint)s\n").isEmpty)
    }
}
