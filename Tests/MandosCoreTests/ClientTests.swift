import MandosFormats
import TestSupport
import Testing

@testable import MandosCore

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
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            var now: Int64 = 0
            var client = Client(
                testSettings(), firstCheckDelay: .seconds(Int64.random(in: 0...120, using: &random)), at: at(0))
            /// The latest moment at which it may still be enabled, and whether an operator disabled it.
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
