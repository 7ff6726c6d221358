import MandosFormats
import POSIXKit

/// One attempt to get the password: a name lookup for a server, or one address of it.
struct FetchAttempt<Work: AttemptWork> {
    /// The server's ID in the ``ServerList``.
    let server: Int
    /// Whom it talks to, if anybody.
    let peer: SocketAddress.Peer?
    let begun: BootTime
    let work: Work

    /// From when on the attempt may be given up for others; nil if never.
    var replaceableFrom: BootTime? { work.protectedUntil(since: begun) }

    func isReplaceable(at now: BootTime) -> Bool { replaceableFrom.map { $0 <= now } ?? false }
}

/// The result of letting an attempt go on.
enum AttemptResult {
    case underWay
    case answered(NameLookup.Answer)
    case received(message: [UInt8])
    case decrypted(SecretBuffer)
    case failed(problem: String, lacksNetwork: Bool)
}

/// The work of an attempt. It advances in small steps that never block.
protocol AttemptWork {
    /// Memory that the peer makes us use, in bytes.
    var size: Int { get }
    var isDecryption: Bool { get }
    /// From when on an attempt that began at `begun` may be given up for others; nil if it never may be.
    func protectedUntil(since begun: BootTime) -> BootTime?
    func register(in set: inout PollSet)
    func advance(at now: BootTime) -> AttemptResult
}

/// A name lookup, whose answer leads to conversations; a conversation, whose message leads to a decryption; a decryption.
enum FetchWork: AttemptWork {
    case lookup(NameLookup)
    case conversation(Conversation)
    case decryption(Decryption)

    var size: Int {
        switch self {
        case .lookup: 0
        case .conversation(let conversation): conversation.receivedCount
        case .decryption(let decryption): decryption.size
        }
    }

    var isDecryption: Bool {
        if case .decryption = self { true } else { false }
    }

    func protectedUntil(since begun: BootTime) -> BootTime? {
        switch self {
        case .lookup: begun.after(milliseconds: 1000)
        case .conversation(let conversation): conversation.protectedUntil
        case .decryption: nil
        }
    }

    func register(in set: inout PollSet) {
        switch self {
        case .lookup(let lookup): lookup.register(in: &set)
        case .conversation(let conversation): conversation.register(in: &set)
        case .decryption(let decryption): decryption.register(in: &set)
        }
    }

    func advance(at now: BootTime) -> AttemptResult {
        switch self {
        case .lookup(let lookup):
            switch lookup.advance() {
            case nil: return .underWay
            case .success(let answer): return .answered(answer)
            case .failure(let error): return .failed(problem: error.description, lacksNetwork: error.isTemporary)
            }
        case .conversation(let conversation):
            do throws(Conversation.Failure) {
                return try conversation.advance(at: now).map { .received(message: $0) } ?? .underWay
            } catch {
                return .failed(problem: error.description, lacksNetwork: error.lacksNetwork)
            }
        case .decryption(let decryption):
            do throws(Decryption.Failure) {
                return try decryption.advance(at: now).map { .decrypted($0) } ?? .underWay
            } catch {
                return .failed(problem: error.description, lacksNetwork: false)
            }
        }
    }
}
