import Dispatch
import Logging
import MandosCore
@testable import MandosServer
import Synchronization
import TestSupport
import Testing

/// The log while its reader is stuck.
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

    @Test func `does not hold up the server, and says later how much is lost`() async throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        let count = 25_000
        for number in 0..<count { queue.write(entry(number)) }
        sink.gate.signal()
        queue.finish()
        // It may need more time than the end of a server waits.
        var (told, lost): ([Int], [Int]) = ([], [])
        try await waitUntil("\(count) lines, told or lost", details: { "told \(told.count), lost \(lost)" }) {
            let lines = sink.lines.withLock { $0 }
            told = lines.compactMap { $0.firstMatch(of: /^line (\d+)$/).flatMap { Int($0.output.1) } }
            lost = lines.compactMap {
                $0.firstMatch(of: /lines are lost count=(\d+) levels=\d+ info$/).flatMap { Int($0.output.1) }
            }
            return told.count + lost.reduce(0, +) >= count
        }
        #expect(told.count + lost.reduce(0, +) == count)
        // What is being written, and what waits.
        #expect(told.count <= 2 * LogQueue.mostWaiting && !lost.isEmpty)
        #expect(told == told.sorted())
    }

    @Test(arguments: [Logger.Level.debug, .info, .warning])
    func `loses the details first`(level: Logger.Level) async throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        func write(_ level: Logger.Level, _ message: String, times count: Int) {
            for _ in 0..<count {
                queue.write(LogEntry(level: level, subsystem: .server, message: message, facts: []))
            }
        }
        let count = 500
        // More than may wait: they may come while an earlier one is being written, which waits no more.
        write(level, "detail", times: 2 * LogQueue.mostWaiting)
        write(.error, "important", times: count)
        sink.gate.signal()
        queue.finish()
        let lines = try await eventually("the important lines and the number of lost ones") {
            let lines = sink.lines.withLock { $0 }
            return lines.contains { $0.contains("lines are lost") } && lines.count { $0 == "important" } == count
                ? lines : nil
        }
        let lost = try #require(lines.first { $0.contains("lines are lost") })
        #expect(lost.contains(try Regex(" levels=\\d+ \(level)$")), "\(lost)")
    }

    @Test func `does not keep the server from its end`() throws {
        let sink = StuckSink()
        let queue = try LogQueue(to: [sink])
        queue.write(entry(0))
        let begin = ContinuousClock.now
        queue.finish()
        #expect(ContinuousClock.now - begin < waitLimit)
        #expect(sink.lines.withLock { $0.isEmpty })
        sink.gate.signal()
    }
}
