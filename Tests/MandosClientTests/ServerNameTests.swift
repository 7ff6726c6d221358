import Testing

@testable import MandosClient

@Suite struct `Server names` {
    @Test(arguments: [
        ("192.0.2.3:4711", "192.0.2.3", 4711), ("::1:80", "::1", 80), ("[::1]:80", "::1", 80),
        ("fe80::aede:48ff:fe71:f6f2:4711", "fe80::aede:48ff:fe71:f6f2", 4711),
        ("example.org:65535", "example.org", 65535),
        ("fe80::1%eth0:1", "fe80::1%eth0", 1),
    ])
    func `have the port after the last colon`(text: String, host: String, port: UInt16) throws {
        let server = try ServerName(parsing: text)
        #expect(server.host == host)
        #expect(server.port == port)
        #expect(try ServerName(parsing: server.description) == server)
    }

    @Test(arguments: [
        ("", ServerName.Problem.noPort), ("example.org", .noPort), ("example.org:", .badPort),
        ("example.org:0", .badPort),
        ("example.org:65536", .badPort), ("example.org:99999999999999999999", .badPort), ("example.org:http", .badPort),
        ("example.org:-1", .badPort), (":80", .noHost), ("[]:80", .noHost), ("example.org: 80", .badPort),
    ])
    func `that are none are refused`(text: String, problem: ServerName.Problem) {
        #expect(throws: problem) { try ServerName(parsing: text) }
    }
}

@Suite struct `A server beside those that are found` {
    @Test(arguments: [
        ("example.org", "example.org", 4711), ("example.org:80", "example.org", 80), ("192.0.2.3", "192.0.2.3", 4711),
        ("::1", "::1", 4711), ("[::1]", "::1", 4711), ("[::1]:80", "::1", 80),
        ("fe80::1%eth0", "fe80::1%eth0", 4711), ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ])
    func `may be without a port`(text: String, host: String, port: UInt16) throws {
        #expect(try ServerName(parsingWithOptionalPort: text) == ServerName(host: host, port: port))
    }

    @Test(arguments: ["", ":80", "example.org:", "example.org:0", "[]", "[]:80"])
    func `is refused if it is none`(text: String) {
        #expect(throws: ServerName.Problem.self) { try ServerName(parsingWithOptionalPort: text) }
    }
}
