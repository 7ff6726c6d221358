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

    @Test func `holds nobody up, and says later how much is lost`() async throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        let count = 25_000
        for number in 0..<count { queue.write(entry(number)) }
        sink.gate.signal()
        queue.finish()
        // It may need more time than the end of a server waits.
        var (told, lost): ([Int], [Int]) = ([], [])
        for _ in 0..<2000 where told.count + lost.reduce(0, +) < count {
            try await Task.sleep(for: .milliseconds(5))
            let lines = sink.lines.withLock { $0 }
            told = lines.compactMap { $0.firstMatch(of: /^line (\d+)$/).flatMap { Int($0.output.1) } }
            lost = lines.compactMap { $0.firstMatch(of: /lines are lost count=(\d+)$/).flatMap { Int($0.output.1) } }
        }
        #expect(told.count + lost.reduce(0, +) == count)
        // What is being written, and what waits.
        #expect(told.count <= 2 * LogQueue.mostWaiting && !lost.isEmpty)
        #expect(told == told.sorted())
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
