import MandosFormats
import POSIXKit

/// One attempt to get the password: a name lookup for a server, or one address of it.
struct FetchAttempt<Work: AttemptWork> {
    /// The server's ID in the ``ServerList``.
    let server: Int
    /// The address, if the server is an announced one.
    let address: SocketAddress?
    let begun: BootTime
    let work: Work

    /// From when on the attempt may be given up for others; nil if never.
    var replaceableFrom: BootTime? { work.protectedTime.map { begun.after(milliseconds: $0) } }

    func isReplaceable(at now: BootTime) -> Bool { replaceableFrom.map { $0 <= now } ?? false }
}

/// The result of letting an attempt go on.
enum AttemptResult {
    case underWay
    /// The server has completed the handshake, and its message is awaited.
    case connected
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
    /// How long the attempt may last before it may be given up for others, in milliseconds; nil if it never may be.
    var protectedTime: Int64? { get }
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

    var protectedTime: Int64? {
        switch self {
        case .lookup: 1000
        // After the handshake, the server may be waiting for an operator's approval.
        case .conversation(let conversation): conversation.isHandshakeCompleted ? 60_000 : 1000
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
                if let message = try conversation.advance(at: now) { return .received(message: message) }
                return conversation.isHandshakeCompleted ? .connected : .underWay
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
