import MandosFormats
import MandosTLS
import POSIXKit

/// A conversation with one server at one address, which asks it for our secret.
///
/// Source: mandos(8), NETWORK PROTOCOL.
final class Conversation {
    /// How long each part of the conversation may take, in milliseconds.
    struct TimeLimits {
        var untilHandshakeCompleted: Int64 = 15_000
        /// Counted from the message's first byte. Before it, the server may wait for an operator's approval, without limit;
        /// TCP keep-alive then detects a server that is gone.
        var forMessage: Int64 = 60_000
    }

    enum Failure: Error, CustomStringConvertible {
        case system(SystemError)
        case tls(TLSError)
        case needsInterface
        case closedBeforeHandshake
        case tooSlow
        case noSecret
        case cutShort
        case tooLong

        /// Whether a change of our network may help.
        var lacksNetwork: Bool {
            if case .system(let error) = self { error.lacksNetwork } else { false }
        }

        var description: String {
            switch self {
            case .system(let error): "\(error)"
            case .tls(let error): "\(error)"
            case .needsInterface: "a link-local address needs an interface: write ADDRESS%INTERFACE, or --interface"
            case .closedBeforeHandshake: "it closed the connection during the TLS handshake; is it a Mandos server?"
            case .tooSlow: "it took too long to answer"
            case .noSecret:
                "it has no secret for us: our key is not in its clients.conf, or this client is disabled or not approved"
            case .cutShort: "it ended the connection in the middle of the message"
            case .tooLong: "it sent more than \(ProtocolLimits.largestSecret) bytes"
            }
        }
    }

    private enum Stage { case connecting, handshake, receiving }

    private let socket: StreamSocket
    private let session: TLSSession
    private let limits: TimeLimits
    private var stage = Stage.connecting
    private var deadline: BootTime?
    /// When the stage has begun, and when the peer was last heard.
    private var begin: BootTime
    private var lastHeard: BootTime
    private var unsent: [UInt8] = Greeting.line
    private var message: [UInt8] = []

    /// Begins to connect, through `interface` only if one is given.
    init(
        to address: SocketAddress, interface: String?, credentials: Credentials, priority: Priority,
        limits: TimeLimits = TimeLimits(), at now: BootTime
    ) throws(Failure) {
        var address = address
        if address.needsInterface {
            guard let interface else { throw .needsInterface }
            try Self.network { () throws(SystemError) in try address.setInterface(interface) }
        }
        self.limits = limits
        deadline = now.after(milliseconds: limits.untilHandshakeCompleted)
        begin = now
        lastHeard = now
        do throws(TLSError) {
            session = try TLSSession(role: .mandosClient, priority: priority, credentials: credentials)
        } catch {
            throw .tls(error)
        }
        socket = try Self.network { () throws(SystemError) in try .connect(to: address, interface: interface) }
    }

    /// Whether the peer has proved to speak our protocol.
    private var isHandshakeCompleted: Bool { stage == .receiving }

    /// Length of the part of the message that has been received, in bytes.
    var receivedCount: Int { message.count }

    /// From when on it may be given up if others wait for its place.
    ///
    /// During the handshake, when the peer has been silent for a while since we last listened, so that a slow machine gives up
    /// nobody who has answered; or has only interrupted its silence now and then. After it, a server sends its message at once, and
    /// quickly, unless it waits for an operator's approval.
    var protectedUntil: BootTime {
        if isHandshakeCompleted {
            return begin.after(milliseconds: 3000 + Int64(message.count) / Self.leastBytesPerMillisecond)
        }
        return min(lastHeard.after(milliseconds: 1000), begin.after(milliseconds: 5000))
    }

    /// How fast a message comes at least, while others wait.
    private static let leastBytesPerMillisecond: Int64 = 64

    func register(in set: inout PollSet) {
        let isWriting = stage == .connecting || !unsent.isEmpty
        set.add(socket.number, for: isWriting ? .both : .reading)
        set.limit(to: deadline)
    }

    /// Sends and receives as far as is possible without blocking.
    ///
    /// - Returns: the whole message, or nil while it is incomplete.
    func advance(at now: BootTime) throws(Failure) -> [UInt8]? {
        if let deadline, now >= deadline { throw .tooSlow }
        if stage == .connecting {
            guard try Self.network({ () throws(SystemError) in try socket.isConnected() }) else { return nil }
            stage = .handshake
            lastHeard = now
        }
        try receive(at: now)
        if stage == .handshake, try completeHandshake() {
            stage = .receiving
            deadline = nil
            begin = now
        }
        var isComplete = false
        if stage == .receiving { isComplete = try readMessage(at: now) }
        unsent += session.takeOutput()
        try send()
        return isComplete ? message : nil
    }

    /// Maximum number of full records in one turn, so that a server that never stops sending delays no other.
    private static let recordsPerTurn = 4

    /// Receives what has arrived. Data before the end of the connection, or before a reset, still counts: the session tells
    /// whether it is complete.
    private func receive(at now: BootTime) throws(Failure) {
        var buffer = [UInt8](repeating: 0, count: TLSSession.largestRecord)
        for _ in 0..<Self.recordsPerTurn {
            do throws(SystemError) {
                switch try socket.receive(into: &buffer) {
                case .bytes(let count):
                    lastHeard = now
                    session.receive(buffer.span.extracting(..<count))
                case .notReady: return
                case .end: return session.receiveEnd()
                }
            } catch {
                guard error.isConnectionReset else { throw .system(error) }
                return session.receiveEnd()
            }
        }
    }

    private func completeHandshake() throws(Failure) -> Bool {
        do throws(TLSError) {
            return try session.handshake()
        } catch {
            throw error.isPrematureEnd ? .closedBeforeHandshake : .tls(error)
        }
    }

    private func send() throws(Failure) {
        while !unsent.isEmpty {
            let transfer = try Self.network { () throws(SystemError) in try socket.send(unsent) }
            guard case .bytes(let count) = transfer else { return }
            unsent.removeFirst(count)
        }
    }

    /// - Returns: whether the message is complete.
    private func readMessage(at now: BootTime) throws(Failure) -> Bool {
        while true {
            let received: TLSSession.Received
            do throws(TLSError) {
                received = try session.read()
            } catch {
                throw error.isPrematureEnd ? .cutShort : .tls(error)
            }
            switch received {
            case .needsInput: return false
            case .end:
                if message.isEmpty { throw .noSecret }
                return true
            case .bytes(let bytes):
                if message.isEmpty { deadline = now.after(milliseconds: limits.forMessage) }
                message += bytes
                if message.count > ProtocolLimits.largestSecret { throw .tooLong }
            }
        }
    }

    private static func network<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(Failure) -> Result {
        do throws(SystemError) { return try body() } catch { throw .system(error) }
    }
}
