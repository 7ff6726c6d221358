import Glibc
import POSIXKit
import MandosFormats
import MandosTLS

/// What a visitor comes for.
enum Errand {
    /// Connects and says nothing until the server ends it.
    case silence
    /// Sends the greeting, and says nothing more.
    case greeting
    /// Sends half of its part of the handshake and leaves.
    case abort(Identity)
    /// Gets the secret, which has to be `expected`.
    case fetch(expected: [UInt8], Identity)
}

/// What a client needs to prove its key.
struct Identity {
    let priority: Priority
    let credentials: Credentials

    func session() throws -> TLSSession {
        try TLSSession(role: .mandosClient, priority: priority, credentials: credentials)
    }
}

/// One connection to the server, as MandosClient's `Conversation`, but also one that misbehaves.
final class Visitor {
    enum Progress {
        case underWay
        /// Has said all that it means to say, and waits for the server to end it; told once.
        case holding
        case done
    }

    enum Failure: Error, CustomStringConvertible {
        case closedEarly
        case otherBytes

        var description: String {
            switch self {
            case .closedEarly: "the server closed the connection before the handshake"
            case .otherBytes: "other bytes than expected"
            }
        }
    }

    let began = ContinuousClock.now
    var descriptor: Int32 { socket.number }

    private let errand: Errand
    private let socket: StreamSocket
    private var isConnected = false
    private var isHolding = false
    private var isEstablished = false
    private var hasEnded = false
    private var session: TLSSession?
    private var unsent: [UInt8]
    private var message: [UInt8] = []

    init(_ errand: Errand, to address: SocketAddress) throws {
        self.errand = errand
        unsent = if case .silence = errand { [] } else { Greeting.line }
        socket = try .connect(to: address, interface: nil)
    }

    /// Goes on as far as the network allows; `buffer` keeps its size and what is in it does not matter.
    func advance(with buffer: inout [UInt8]) throws -> Progress {
        if !isConnected {
            guard try socket.isConnected() else { return .underWay }
            isConnected = true
        }
        try send()
        let hasReceived = try receive(with: &buffer)
        switch errand {
        case .silence: return hold(true)
        case .greeting: return hold(hasReceived)
        case .abort, .fetch:
            if let session { return try converse(session) }
            if hasEnded { throw Failure.closedEarly }
            return .underWay
        }
    }

    private func hold(_ isReady: Bool) -> Progress {
        if hasEnded { return .done }
        guard isReady && !isHolding else { return .underWay }
        isHolding = true
        return .holding
    }

    /// - Returns: whether there was anything.
    private func receive(with buffer: inout [UInt8]) throws -> Bool {
        var hasReceived = false
        while !hasEnded {
            do {
                switch try socket.receive(into: &buffer) {
                case .bytes(let count):
                    hasReceived = true
                    try take(buffer.span.extracting(..<count))
                case .notReady: return hasReceived
                case .end: hasEnded = true
                }
            } catch let error as SystemError where error.isConnectionReset {
                hasEnded = true
            }
        }
        session?.receiveEnd()
        return hasReceived
    }

    private func take(_ bytes: Span<UInt8>) throws {
        switch errand {
        case .silence, .greeting: return
        case .abort(let identity), .fetch(_, let identity):
            let session = try self.session ?? identity.session()
            self.session = session
            session.receive(bytes)
        }
    }

    private func converse(_ session: TLSSession) throws -> Progress {
        if !isEstablished {
            isEstablished = try session.handshake()
            let flight = session.takeOutput()
            if case .abort = errand {
                unsent = Array(flight.prefix(flight.count / 2))
                try send()
                return flight.isEmpty ? .underWay : .done
            }
            unsent += flight
            try send()
            guard isEstablished else { return .underWay }
        }
        guard case .fetch(let expected, _) = errand else { return .done }
        while message.count <= expected.count {
            switch try session.read() {
            case .needsInput: return .underWay
            case .bytes(let bytes): message += bytes
            case .end:
                if message == expected { return .done }
                throw Failure.otherBytes
            }
        }
        throw Failure.otherBytes
    }

    private func send() throws {
        while !unsent.isEmpty {
            guard case .bytes(let count) = try socket.send(unsent) else { return }
            unsent.removeFirst(count)
        }
    }
}
