import Dispatch
import Logging
import MandosCore
public import POSIXKit
import Synchronization

/// Writes the log in its own thread, so that a journal or terminal that blocks delays neither checks nor secrets.
///
/// The number of waiting entries is limited, and lower for lower levels: details never displace what operators need. When
/// writing continues, the numbers of lost entries are logged.
public final class LogQueue: LogSink {
    private struct State {
        var waiting: [LogEntry] = []
        var lost: [Logger.Level: Int] = [:]
        var isOver = false
    }

    /// The limit of waiting entries.
    static let mostWaiting = 10_000

    /// How many entries may wait when one of `level` is added.
    static func room(for level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: mostWaiting / 2
        case .info, .notice: mostWaiting / 4 * 3
        // Requests of clients can cause warnings.
        case .warning: mostWaiting / 10 * 9
        case .error, .critical: mostWaiting
        }
    }

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
            if state.waiting.count < Self.room(for: entry.level) {
                state.waiting.append(entry)
            } else {
                state.lost[entry.level, default: 0] += 1
            }
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
                state.lost = [:]
                return taken
            }
            for entry in taken.waiting { tell(entry) }
            if !taken.lost.isEmpty { tellLoss(taken.lost) }
            if taken.isOver { break }
        }
        ended.signal()
    }

    private func tellLoss(_ lost: [Logger.Level: Int]) {
        let levels = lost.sorted { $0.key > $1.key }.map { "\($0.value) \($0.key)" }
        tell(
            LogEntry(
                level: .warning, subsystem: .server, message: "log too slow: lines are lost",
                facts: [("count", "\(lost.values.reduce(0, +))"), ("levels", levels.joined(separator: ", "))]))
    }

    private func tell(_ entry: LogEntry) {
        for sink in sinks { sink.write(entry) }
    }
}
