import MandosFormats
import POSIXKit

/// One unanswered question.
final class Question {
    /// The result of an attempt to answer.
    enum Attempt {
        case answered
        /// To be tried again after an event that ``register(in:)`` waits for.
        case waiting
        /// The asking process cannot be reached.
        case failed(SystemError)
    }

    /// In milliseconds. The asking process removes its socket just before its file, which is gone by the next attempt.
    private static let retryInterval: Int64 = 1000
    private static let mostAttempts = 10

    /// The file's name.
    let name: String
    let ask: AskFile
    private let asker: ForeignProcess
    private var queue: DatagramSocket?
    private var failures = 0
    private var nextAttempt: BootTime?

    /// - Returns: nil if the asking process has ended.
    init?(_ name: String, _ ask: AskFile) {
        guard let asker = ForeignProcess(ask.processID) else { return nil }
        self.name = name
        self.ask = ask
        self.asker = asker
    }

    /// Whether the question has expired, or the asking process has ended.
    var isOver: Bool { ask.isOver(at: Clocks.monotonic) || asker.hasEnded }

    /// Sends the answer, unless a pause after a failure is not over yet.
    func answer(_ message: SecretBuffer) -> Attempt {
        if let nextAttempt, BootTime.now() < nextAttempt { return .waiting }
        nextAttempt = nil
        do throws(SystemError) {
            if queue == nil { queue = try DatagramSocket.connected(to: ask.socket) }
            // If its queue is full of other messages, it becomes writable when they are read.
            return try queue?.send(message) == true ? .answered : .waiting
        } catch {
            queue = nil
            failures += 1
            if failures >= Self.mostAttempts { return .failed(error) }
            nextAttempt = BootTime.now().after(milliseconds: Self.retryInterval)
            return .waiting
        }
    }

    /// Waits for the end of the question, and, if it is to be answered, until another attempt makes sense.
    func register(in set: inout PollSet, isToBeAnswered: Bool) {
        set.add(asker.descriptor)
        if isToBeAnswered {
            if let number = queue?.descriptor { set.add(number, for: .writing) }
            set.limit(to: nextAttempt)
        }
        if let notAfter = ask.notAfter {
            // Rounded up, so that the question has expired by then.
            let rest = max(0, notAfter - Clocks.monotonic) / 1000 + 1
            set.limit(to: BootTime.now().after(milliseconds: rest))
        }
    }
}
