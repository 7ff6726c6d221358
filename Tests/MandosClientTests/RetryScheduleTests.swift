import MandosFormats
import POSIXKit
import Testing

@testable import MandosClient

private func second(_ number: Double) -> BootTime { BootTime(milliseconds: Int64(number * 1000)) }

@Suite struct `The retry schedule` {
    @Test func `tries all servers at once, each one once at a time`() {
        var schedule = RetrySchedule(interval: 10_000)
        #expect(schedule.add(at: second(0)) == 0)
        #expect(schedule.add(at: second(0)) == 1)
        #expect(schedule.begin(at: second(0)) == [0, 1])
        #expect(schedule.begin(at: second(100)) == [])
        #expect(schedule.nextDue == nil)
        #expect(!schedule.isExhausted)
    }

    @Test func `tries again one interval after the last try began`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(1))
        #expect(schedule.nextDue == second(10))
        #expect(schedule.begin(at: second(9)) == [])
        #expect(schedule.begin(at: second(10)) == [0])
    }

    @Test func `tries again at once when the last try took longer than an interval`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(15))
        #expect(schedule.begin(at: second(15)) == [0])
    }

    @Test func `never turns into a busy loop`() {
        var schedule = RetrySchedule(interval: 0)
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(0))
        #expect(schedule.nextDue == second(0.1))
    }

    @Test func `is never delayed by another server`() {
        var schedule = RetrySchedule(interval: 10_000)
        _ = schedule.add(at: second(0))
        _ = schedule.add(at: second(5))
        #expect(schedule.begin(at: second(0)) == [0])
        #expect(schedule.nextDue == second(5))
        #expect(schedule.begin(at: second(5)) == [1])
        schedule.failed(1, at: second(6))
        #expect(schedule.begin(at: second(15)) == [1])
    }

    @Test func `tries what lacked the network again as soon as that changes`() {
        var schedule = RetrySchedule(interval: 10_000)
        let lacking = schedule.add(at: second(0))
        let refused = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(lacking, at: second(1), lacksNetwork: true)
        schedule.failed(refused, at: second(1))
        #expect(schedule.begin(at: second(2)) == [])
        schedule.networkHasChanged(at: second(3))
        #expect(schedule.begin(at: second(3)) == [lacking])
        #expect(schedule.begin(at: second(10)) == [refused])
    }

    @Test func `forgets a server, and never confuses it with a later one`() {
        var schedule = RetrySchedule(interval: 10_000)
        let first = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.remove(first)
        let later = schedule.add(at: second(0))
        schedule.failed(first, at: second(1))
        #expect(schedule.begin(at: second(1)) == [later])
        #expect(schedule.nextDue == nil)
    }

    @Test func `with room for few takes those that have been due longest`() {
        var schedule = RetrySchedule(interval: 10_000)
        let servers = (0..<5).map { schedule.add(at: second(Double(10 - $0))) }
        #expect(schedule.begin(at: second(20), most: 2) == [servers[4], servers[3]])
        #expect(schedule.begin(at: second(20), most: 0) == [])
        #expect(schedule.begin(at: second(20)) == [servers[0], servers[1], servers[2]])
    }

    @Test func `spreads the tries of many machines`() {
        var schedule = RetrySchedule(interval: 10_000)
        let server = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(server, at: second(1), jitter: 700)
        #expect(schedule.nextDue == second(10.7))
    }

    @Test func `without an interval ends when each server has failed once`() {
        var schedule = RetrySchedule(interval: nil)
        _ = schedule.add(at: second(0))
        _ = schedule.add(at: second(0))
        _ = schedule.begin(at: second(0))
        schedule.failed(0, at: second(1))
        #expect(!schedule.isExhausted)
        schedule.failed(1, at: second(1))
        #expect(schedule.isExhausted)
        #expect(schedule.begin(at: second(100)) == [])
    }
}

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
