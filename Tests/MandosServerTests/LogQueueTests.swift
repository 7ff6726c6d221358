import Dispatch
import Logging
import MandosCore
@testable import MandosServer
import Synchronization
import Testing

/// What becomes of the log when nobody takes it.
@Suite struct `A log that is stuck` {
    private final class StuckSink: LogSink {
        let gate = DispatchSemaphore(value: 0)
        let lines = Mutex<[String]>([])

        func write(_ entry: LogEntry) {
            gate.wait()
            gate.signal()
            lines.withLock { $0.append(entry.line) }
        }
    }

    private func entry(_ number: Int) -> LogEntry {
        LogEntry(level: .info, subsystem: .server, message: "line \(number)", facts: [])
    }

    @Test func `holds nobody up, and says later how much is lost`() throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        let count = 25_000
        for number in 0..<count { queue.write(entry(number)) }
        sink.gate.signal()
        queue.finish()
        let lines = sink.lines.withLock { $0 }
        let lost = try #require(lines.last?.firstMatch(of: /lines are lost count=(\d+)$/).flatMap { Int($0.output.1) })
        #expect(lines.count - 1 + lost == count)
        #expect(lost >= 5000)
        #expect(lines.dropLast() == (0..<lines.count - 1).map { "line \($0)" }[...])
    }

    @Test func `does not keep the server from its end`() throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        queue.write(entry(0))
        let begin = ContinuousClock.now
        queue.finish()
        #expect(ContinuousClock.now - begin < .seconds(10))
        #expect(sink.lines.withLock { $0.isEmpty })
        sink.gate.signal()
    }
}
