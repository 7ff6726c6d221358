import MandosFormats
import Testing

@testable import MandosCore

func at(_ seconds: Int64) -> Moment {
    Moment(
        boot: BootTime(milliseconds: 1_000_000 + seconds * 1000),
        wall: Timestamp(secondsSince1970: 1_800_000_000 + seconds))
}

/// timeout 300 s, extended timeout 900 s, interval 120 s.
func testSettings(_ name: String = "foo", enabled: Bool = true, checker: String = "true") -> ClientSettings {
    let text = """
        [\(name)]
        key_id = 788cd77115cd0bb7b2d5e0ae8496f6b48149d5e712c652076b1fd2d957ef7c1f
        secret = c2VjcmV0
        enabled = \(enabled)
        checker = \(checker)
        """
    let file = ConfigFile.parse(Array(text.utf8), path: "f")
    let scope = ConfigScope(section: file.sections[0], defaults: [])
    guard let settings = try? ClientSettings.read(scope, readFile: { .failure(FileProblem(reason: $0)) }) else {
        preconditionFailure("the section above is right")
    }
    return settings
}

extension Client {
    /// Runs a whole check: due, queued, started, ended.
    fileprivate mutating func check(_ ending: TerminationStatus, startedAt start: Int64, endedAt end: Int64) {
        queueCheck(at: at(start).boot)
        checkStarted(at: at(start).boot)
        checkEnded(ending, at: at(end))
    }
}

@Suite struct `An enabled client` {
    private var client = Client(testSettings(), firstCheckDelay: .seconds(20), at: at(0))

    @Test func `is checked first after a random part of the interval, then once each interval`() {
        var client = client
        #expect(client.nextDeadline == at(20).boot)
        #expect(!client.isCheckDue(at: at(19).boot))
        #expect(client.isCheckDue(at: at(20).boot))
        client.check(.exit(status: 0), startedAt: 20, endedAt: 21)
        #expect(client.nextDeadline == at(140).boot)
        client.check(.exit(status: 0), startedAt: 140, endedAt: 260)
        #expect(client.nextDeadline == at(380).boot, "a checker that takes an interval leaves one turn out")
    }

    @Test func `lives on for the timeout after each success`() {
        var client = client
        #expect(client.isEnabled(at: at(299).boot))
        client.check(.exit(status: 0), startedAt: 20, endedAt: 25)
        #expect(client.isEnabled(at: at(324).boot))
        #expect(client.hasExpired(at: at(325).boot))
        #expect(client.lastCheckedOK == at(25).wall)
    }

    @Test(arguments: [TerminationStatus.exit(status: 1), .exit(status: 127), .signal(9)])
    func `does not live longer for any other ending`(ending: TerminationStatus) {
        var client = client
        client.check(ending, startedAt: 20, endedAt: 25)
        #expect(client.hasExpired(at: at(300).boot))
        #expect(client.lastCheckerStatus == ending)
        #expect(client.lastCheckedOK == nil)
    }

    @Test func `gets at least until one interval after its first check`() {
        let client = Client(testSettings(), firstCheckDelay: .seconds(250), at: at(0))
        #expect(client.isEnabled(at: at(369).boot))
        #expect(client.hasExpired(at: at(370).boot))
    }

    @Test func `is disabled at its time even while a checker runs`() {
        var client = client
        client.queueCheck(at: at(20).boot)
        client.checkStarted(at: at(20).boot)
        #expect(client.nextDeadline == at(300).boot)
        #expect(client.hasExpired(at: at(300).boot))
        client.checkEnded(.exit(status: 0), at: at(300))
        #expect(client.hasExpired(at: at(300).boot), "a checker that ends too late changes nothing")
        #expect(client.lastCheckerStatus == nil)
    }

    @Test func `loses nothing while its check waits for its turn, up to one timeout`() {
        var client = client
        client.queueCheck(at: at(20).boot)
        #expect(client.isEnabled(at: at(500).boot))
        #expect(client.hasExpired(at: at(600).boot))
        #expect(client.nextDeadline == at(600).boot)
        client.checkStarted(at: at(120).boot)
        #expect(client.isEnabled(at: at(399).boot), "100 seconds of waiting are not its fault")
        #expect(client.hasExpired(at: at(400).boot))
    }

    @Test func `is neither better nor worse off when its checker could not be started`() {
        var client = client
        client.queueCheck(at: at(20).boot)
        client.checkFailedToStart(at: at(20).boot)
        #expect(client.nextDeadline == at(140).boot)
        #expect(client.hasExpired(at: at(300).boot))
        #expect(client.lastCheckerStatus == nil)
    }

    @Test func `once disabled stays so, whatever comes`() {
        var client = client
        client.queueCheck(at: at(20).boot)
        client.checkStarted(at: at(20).boot)
        client.disable()
        client.checkEnded(.exit(status: 0), at: at(21))
        client.secretWasSent(at: at(22).boot)
        client.queueCheck(at: at(23).boot)
        #expect(client.status == .disabled)
        #expect(client.nextDeadline == nil)
        client.enable(firstCheckDelay: .zero, at: at(30))
        #expect(client.isEnabled(at: at(329).boot))
        #expect(client.isCheckDue(at: at(30).boot))
    }
}

/// Thousands of interleavings against the simplest statement of the rule.
@Suite struct `In any order of events` {
    @Test(arguments: 1...20) func `a client is enabled only while the manual says so`(seed: UInt64) {
        var random = Seeded(state: seed)
        for _ in 0..<100 {
            var now: Int64 = 0
            var client = Client(
                testSettings(), firstCheckDelay: .seconds(Int64.random(in: 0...120, using: &random)), at: at(0))
            /// The latest moment at which it may still be enabled, and whether somebody disabled it.
            var limit = max(300, (client.nextDeadline ?? at(0).boot).milliseconds / 1000 - 1000 + 120)
            var isDisabled = false
            var isRunning = false
            for _ in 0..<60 {
                now += Int64.random(in: 0...90, using: &random)
                let isAlive = !isDisabled && now < limit
                #expect(client.isEnabled(at: at(now).boot) == isAlive)
                let event = Int.random(in: 0..<8, using: &random)
                if event < 3 && client.isCheckDue(at: at(now).boot) && isAlive {
                    client.queueCheck(at: at(now).boot)
                    client.checkStarted(at: at(now).boot)
                    isRunning = true
                } else if event < 5 && isRunning {
                    let isOK = Bool.random(using: &random)
                    client.checkEnded(.exit(status: isOK ? 0 : 1), at: at(now))
                    if isOK && isAlive { limit = now + 300 }
                    isRunning = !isAlive
                } else if event == 5 {
                    client.secretWasSent(at: at(now).boot)
                    if isAlive { limit = now + 900 }
                } else if event == 6 && Int.random(in: 0..<4, using: &random) == 0 {
                    client.disable()
                    isDisabled = true
                } else if event == 7 && !isAlive {
                    client.enable(firstCheckDelay: .zero, at: at(now))
                    (isDisabled, isRunning, limit) = (false, false, now + 300)
                }
            }
        }
    }
}

struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}

@Suite struct `After a restart` {
    private static let boot = BootID("this boot")
    private static let otherBoot = BootID("another boot")

    private func restored(
        _ client: Client, savedAt saved: Int64, at now: Int64, configured: ClientSettings = testSettings(),
        file: ClientSettings = testSettings(), bootID: BootID = boot
    ) -> Client {
        let record = client.record(configured: configured, bootID: Self.boot, at: at(saved))
        return Client.restored(file, from: record, firstCheckDelay: .zero, bootID: bootID, at: at(now))
    }

    private func checked(_ ending: TerminationStatus) -> Client {
        var client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        client.check(ending, startedAt: 0, endedAt: 1)
        return client
    }

    @Test(arguments: [boot, otherBoot]) func `an enabled client has the time that was left`(bootID: BootID) {
        let client = restored(checked(.exit(status: 0)), savedAt: 50, at: 100, bootID: bootID)
        #expect(client.isEnabled(at: at(300).boot))
        #expect(client.hasExpired(at: at(301).boot))
        #expect(client.lastCheckedOK == at(1).wall)
    }

    @Test func `a disabled client stays disabled`() {
        var client = checked(.exit(status: 0))
        client.disable()
        #expect(restored(client, savedAt: 50, at: 51).status == .disabled)
    }

    @Test func `one whose time ran out lives on only if its last checker had succeeded`() {
        #expect(restored(checked(.exit(status: 0)), savedAt: 50, at: 1000).isEnabled(at: at(1299).boot))
        #expect(restored(checked(.exit(status: 1)), savedAt: 50, at: 1000).status == .disabled)
        let never = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        #expect(restored(never, savedAt: 50, at: 1000).status == .disabled)
    }

    @Test func `a clock set back by a day gives nobody a day`() {
        let record = checked(.exit(status: 1)).record(configured: testSettings(), bootID: Self.otherBoot, at: at(50))
        let now = Moment(boot: at(100).boot, wall: Timestamp(secondsSince1970: 1_800_000_000 - 86_400))
        let client = Client.restored(
            testSettings(), from: record, firstCheckDelay: .zero, bootID: Self.boot, at: now)
        #expect(client.hasExpired(at: at(100 + 900).boot))
    }

    @Test func `the file wins where it has changed, else what was saved does`() {
        var changed = testSettings()
        changed.timeout = .seconds(60)
        changed.host = "saved"
        var client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        client.change(changed, at: at(0).boot)
        var file = testSettings()
        file.timeout = .seconds(77)
        file.interval = .seconds(88)
        let merged = restored(client, savedAt: 1, at: 2, file: file).settings
        #expect(merged.timeout == .seconds(77), "changed in the file and while running")
        #expect(merged.host == "saved", "changed while running only")
        #expect(merged.interval == .seconds(88), "changed in the file only")
    }

    @Test func `"enabled" in the file wins where it has changed`() {
        var disabled = checked(.exit(status: 0))
        disabled.disable()
        let off = testSettings(enabled: false)
        #expect(restored(disabled, savedAt: 1, at: 2, configured: off, file: testSettings()).isEnabled(at: at(3).boot))
        #expect(restored(checked(.exit(status: 0)), savedAt: 1, at: 2, file: off).status == .disabled)
        #expect(restored(disabled, savedAt: 1, at: 2, configured: off, file: off).status == .disabled)
    }
}

@Suite struct `The deadline queue` {
    @Test func `gives names in the order of their latest deadlines`() {
        var queue = DeadlineQueue()
        var random = Seeded(state: 3)
        var expected: [String: BootTime] = [:]
        for _ in 0..<5000 {
            let name = "client \(Int.random(in: 0..<100, using: &random))"
            let deadline =
                Int.random(in: 0..<5, using: &random) == 0 ? nil : at(Int64.random(in: 0...999, using: &random)).boot
            queue.set(deadline, for: name)
            expected[name] = deadline
        }
        #expect(queue.next() == expected.values.min())
        var last = at(0).boot
        var count = 0
        while let next = queue.next() {
            #expect(next >= last)
            #expect(queue.popDue(at: BootTime(milliseconds: next.milliseconds - 1)) == nil)
            guard let name = queue.popDue(at: next) else { break }
            #expect(expected[name] == next)
            (last, count) = (next, count + 1)
        }
        #expect(count == expected.count)
    }
}

@Suite struct `Turns to be checked` {
    @Test func `come in order, and no more than so many at once`() {
        var turns = CheckerQueue(limit: 2)
        for name in ["a", "b", "c", "d"] { turns.enqueue(name) }
        #expect(turns.start(at: at(0).boot) { _ in true } == "a")
        #expect(turns.start(at: at(0).boot) { $0 != "b" } == "c")
        #expect(turns.start(at: at(0).boot) { _ in true } == nil)
        turns.ended("a")
        #expect(turns.start(at: at(0).boot) { _ in true } == "d")
        turns.ended("c")
        #expect(turns.start(at: at(0).boot) { _ in true } == nil, "nobody is left, and nobody comes twice")
    }

    @Test func `wait for the same client's last checker`() {
        var turns = CheckerQueue(limit: 3)
        turns.enqueue("a")
        #expect(turns.start(at: at(0).boot) { _ in true } == "a")
        turns.enqueue("a")
        turns.enqueue("b")
        #expect(turns.start(at: at(0).boot) { _ in true } == "b")
        #expect(turns.start(at: at(0).boot) { _ in true } == nil)
        turns.ended("a")
        #expect(turns.start(at: at(0).boot) { _ in true } == "a")
    }
}

@Suite struct `Checkers that hang` {
    @Test func `are named, longest first, as many as others wait`() {
        var turns = CheckerQueue(limit: 2)
        for name in ["a", "b", "c"] { turns.enqueue(name) }
        #expect(turns.start(at: at(0).boot) { _ in true } == "a")
        #expect(turns.start(at: at(10).boot) { _ in true } == "b")
        #expect(turns.overdue(at: at(60).boot) { _ in .minutes(1) } == [])
        #expect(turns.overdue(at: at(100).boot) { _ in .minutes(1) } == ["a"])
        turns.enqueue("d")
        #expect(turns.overdue(at: at(100).boot) { _ in .minutes(1) } == ["a", "b"])
        #expect(turns.overdue(at: at(100).boot) { $0 == "a" ? .minutes(9) : .minutes(1) } == ["b"])
    }
}

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
