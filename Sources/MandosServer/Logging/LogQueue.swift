import Dispatch
import Logging
import MandosCore
public import POSIXKit
import Synchronization

/// Writes the log in its own thread, so that a journal or terminal that blocks delays neither checks nor secrets.
///
/// The number of waiting entries is limited; when writing continues, the number of lost entries is logged.
public final class LogQueue: LogSink {
    private struct State {
        var waiting: [LogEntry] = []
        var lost = 0
        var isOver = false
    }

    /// The limit of waiting entries.
    static let mostWaiting = 10_000
    /// The time that the server's end allows for writing the rest.
    private static let finishTimeLimit = DispatchTimeInterval.milliseconds(500)

    private let sinks: [any LogSink]
    private let state = Mutex(State())
    private let news = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    /// - Throws: if there can be no thread.
    public init(to sinks: [any LogSink]) throws(SystemError) {
        self.sinks = sinks
        try DetachedThread.start("starting the thread of the log", work)
    }

    public func write(_ entry: LogEntry) {
        state.withLock { state in
            if state.waiting.count < Self.mostWaiting { state.waiting.append(entry) } else { state.lost += 1 }
        }
        news.signal()
    }

    /// Writes the waiting entries, within a time limit, and ends the thread.
    public func finish() {
        state.withLock { $0.isOver = true }
        news.signal()
        _ = ended.wait(timeout: .now() + Self.finishTimeLimit)
    }

    private func work() {
        while true {
            news.wait()
            let taken = state.withLock { state in
                let taken = state
                state.waiting = []
                state.lost = 0
                return taken
            }
            for entry in taken.waiting { tell(entry) }
            if taken.lost > 0 {
                tell(
                    LogEntry(
                        level: .warning, subsystem: .server, message: "log too slow: lines are lost",
                        facts: [("count", "\(taken.lost)")]))
            }
            if taken.isOver { break }
        }
        ended.signal()
    }

    private func tell(_ entry: LogEntry) {
        for sink in sinks { sink.write(entry) }
    }
}
