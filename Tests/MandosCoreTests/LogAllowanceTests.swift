import MandosCore
import MandosFormats
import Testing

@Suite struct `The log lines that strangers cause` {
    private var allowance = LogAllowance()
    private let start = BootTime(milliseconds: 1000)

    @Test mutating func `are limited for each source, and counted`() {
        let admitted = (0..<25).count { _ in allowance.admit(from: "a", at: start) }
        #expect(admitted == LogAllowance.mostOfOneSource)
        let other = allowance.admit(from: "b", at: start)
        #expect(other)
        #expect(allowance.leftOut == 25 - LogAllowance.mostOfOneSource)
    }

    @Test mutating func `are limited in all, however many sources there are`() {
        let admitted = (0..<100_000).count { allowance.admit(from: "source \($0)", at: start) }
        #expect(admitted == LogAllowance.mostInAll)
        #expect(allowance.leftOut == 100_000 - LogAllowance.mostInAll)
        // Sources without a line are not remembered.
        #expect("\(allowance)".utf8.count < 10_000)
    }

    @Test mutating func `are allowed again after the period, and those left out are reported once`() {
        #expect(allowance.reportDue == nil)
        for _ in 0..<30 { _ = allowance.admit(from: "a", at: start) }
        let end = start + LogAllowance.period
        #expect(allowance.reportDue == end)
        let before = allowance.admit(from: "a", at: end + .milliseconds(-1))
        #expect(!before)
        let after = allowance.admit(from: "a", at: end)
        #expect(after)
        let reported = allowance.takeLeftOut()
        #expect(reported == 31 - LogAllowance.mostOfOneSource)
        #expect(allowance.reportDue == nil)
    }
}

extension TimeSpan {
    fileprivate static func milliseconds(_ count: Int64) -> TimeSpan { TimeSpan(milliseconds: count) }
}
