import MandosFormats
import POSIXKit

/// One way of getting the password that is under way: one address of one server.
struct FetchAttempt {
    enum Work {
        case lookup(NameLookup)
        case conversation(Conversation)
        case decryption(Decryption)
    }

    /// What the server is called in the ``RetrySchedule``.
    let server: Int
    let begun: BootTime
    let work: Work
    /// Of a server that was announced.
    var address: SocketAddress?

    /// How long it is left in peace whatever else there is to try, in milliseconds: until the server has completed the
    /// handshake, and after that.
    private static let shortest: Int64 = 1000
    private static let shortestWait: Int64 = 60_000

    /// What a peer makes us keep, in bytes.
    var size: Int {
        switch work {
        case .lookup: 0
        case .conversation(let conversation): conversation.receivedCount
        case .decryption(let decryption): decryption.size
        }
    }

    /// From when on it may be given up for others; nil if never.
    var isReplaceableFrom: BootTime? {
        switch work {
        case .lookup: begun.after(milliseconds: Self.shortest)
        // Once we are known there, we may be waiting for somebody's approval.
        case .conversation(let conversation):
            begun.after(milliseconds: conversation.isHandshakeCompleted ? Self.shortestWait : Self.shortest)
        case .decryption: nil
        }
    }

    func isReplaceable(at now: BootTime) -> Bool { isReplaceableFrom.map { $0 <= now } ?? false }

    func register(in set: inout PollSet) {
        switch work {
        case .lookup(let lookup): lookup.register(in: &set)
        case .conversation(let conversation): conversation.register(in: &set)
        case .decryption(let decryption): decryption.register(in: &set)
        }
    }
}
