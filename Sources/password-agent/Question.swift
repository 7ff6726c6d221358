import MandosFormats
import POSIXKit

/// One question that is not answered yet.
final class Question {
    /// What became of an attempt to answer.
    enum Attempt {
        case answered
        /// To be tried again, when something ``register(in:)`` waits for has happened.
        case waiting
        /// There is no way to who asks.
        case failed(SystemError)
    }

    /// In milliseconds. Who asks removes the socket shortly before the file: by then, the file tells.
    private static let retryInterval: Int64 = 1000
    private static let mostAttempts = 10

    /// The file's name.
    let name: String
    private let ask: AskFile
    private let asker: ForeignProcess
    private var queue: DatagramSocket?
    private var failures = 0
    private var nextAttempt: BootTime?

    /// - Returns: nil if nobody asks it any more.
    init?(_ name: String, _ ask: AskFile) {
        guard let asker = ForeignProcess(ask.processID) else { return nil }
        self.name = name
        self.ask = ask
        self.asker = asker
    }

    /// Nobody wants an answer any more.
    var isOver: Bool { ask.isOver(at: Clocks.monotonic) || asker.hasEnded }

    /// Sends the answer, if it is time to try.
    func answer(_ message: SecretBuffer) -> Attempt {
        if let nextAttempt, BootTime.now() < nextAttempt { return .waiting }
        nextAttempt = nil
        do throws(SystemError) {
            if queue == nil { queue = try DatagramSocket.connected(to: ask.socket) }
            // If its queue is full of what others have sent, it is known when that is read.
            return try queue?.send(message) == true ? .answered : .waiting
        } catch {
            queue = nil
            failures += 1
            if failures >= Self.mostAttempts { return .failed(error) }
            nextAttempt = BootTime.now().after(milliseconds: Self.retryInterval)
            return .waiting
        }
    }

    /// Waits for the end of the question, and for what lets an attempt be repeated.
    func register(in set: inout PollSet) {
        set.add(asker.descriptor)
        if let number = queue?.descriptor { set.add(number, for: .writing) }
        set.limit(to: nextAttempt)
        if let notAfter = ask.notAfter {
            // One more, so that it is over then, and not only nearly.
            let rest = max(0, notAfter - Clocks.monotonic) / 1000 + 1
            set.limit(to: BootTime.now().after(milliseconds: rest))
        }
    }
}
