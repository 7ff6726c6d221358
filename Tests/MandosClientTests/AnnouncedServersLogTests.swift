import MandosFormats
import Testing

@testable import MandosClient

private func second(_ number: Int64) -> BootTime { BootTime(milliseconds: number * 1000) }

@Suite struct `The log of announced servers` {
    @Test func `shows the first lines, and then how many there were`() {
        var log = AnnouncedServersLog(at: second(0))
        let shown = (0..<25).map { _ in log.admitsLine() }
        #expect(shown.count { $0 } == 20)
        let early = log.summary(knowing: 3, asking: 2, at: second(9))
        #expect(early == nil)
        let summary = log.summary(knowing: 3, asking: 2, at: second(10))
        #expect(summary?.hasSuffix("; 5 more messages about them are not shown") == true)
        let quiet = log.summary(knowing: 3, asking: 2, at: second(20))
        #expect(quiet == nil)
    }

    @Test func `tells every ten seconds that there are many`() {
        var log = AnnouncedServersLog(at: second(0))
        for period in 1...3 as ClosedRange<Int64> {
            let summary = log.summary(knowing: 21, asking: 20, at: second(10 * period))
            #expect(
                summary == "21 servers are announced, 20 are being asked, and none has given a password yet")
            let again = log.summary(knowing: 21, asking: 20, at: second(10 * period + 9))
            #expect(again == nil)
        }
    }
}
