import Glibc
import MandosFormats
import MandosTLS
import NIOCore

/// Turns received bytes into one event, "the handshake is complete", and outgoing plain text into TLS records.
///
/// It knows nothing about clients. Source: mandos(8), NETWORK PROTOCOL.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Time limits for the peer.
    struct TimeLimits {
        var untilHandshakeCompleted = TimeAmount.seconds(15)
        var forReceivingSecret = TimeAmount.seconds(30)
    }

    /// Why a connection ended before the handshake was complete.
    enum Failure: Error, CustomStringConvertible {
        case badGreeting
        case tooSlow
        case closedEarly
        case tls(TLSError)

        var description: String {
            switch self {
            case .badGreeting: "it did not begin with a protocol version that this server speaks"
            case .tooSlow: "it took too long to complete the TLS handshake"
            case .closedEarly: "it left before the TLS handshake was complete"
            case .tls(let error): "\(error)"
            }
        }
    }

    private enum Stage {
        case greeting(ByteBuffer)
        case handshake(TLSSession)
        case established(TLSSession)
        case ended
    }

    private let priority: Priority
    private let credentials: Credentials
    private let limits: TimeLimits
    private let handshakeEnded: @Sendable (Result<KeyID?, Failure>) -> Void
    private let peerLeft: @Sendable (_ isTooSlow: Bool) -> Void
    private var isTooSlow = false
    private var stage = Stage.greeting(ByteBuffer())
    private var timer: Scheduled<Void>?

    /// `handshakeEnded` is called exactly once; `peerLeft` once, at the end of the connection, with whether the peer took too
    /// long to receive what was written.
    init(
        priority: Priority, credentials: Credentials, limits: TimeLimits,
        handshakeEnded: @escaping @Sendable (Result<KeyID?, Failure>) -> Void,
        peerLeft: @escaping @Sendable (_ isTooSlow: Bool) -> Void
    ) {
        self.priority = priority
        self.credentials = credentials
        self.limits = limits
        self.handshakeEnded = handshakeEnded
        self.peerLeft = peerLeft
    }

    func channelActive(context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limits.untilHandshakeCompleted) { [self] in
            fail(.tooSlow, context: context)
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if case .greeting(var received) = stage {
            received.writeBuffer(&bytes)
            switch Greeting.read(received.readableBytesUInt8Span) {
            case .incomplete:
                stage = .greeting(received)
                return
            case .refused:
                return fail(.badGreeting, context: context)
            case .accepted(let length):
                received.moveReaderIndex(forwardBy: length)
                bytes = received
                do throws(TLSError) {
                    let session = try TLSSession(role: .mandosServer, priority: priority, credentials: credentials)
                    stage = .handshake(session)
                } catch {
                    return fail(.tls(error), context: context)
                }
            }
        }
        switch stage {
        case .greeting, .ended: break
        case .handshake(let session):
            session.receive(bytes.readableBytesUInt8Span)
            continueHandshake(session, context: context)
        case .established:
            // A Mandos client sends nothing more, except its TLS goodbye.
            break
        }
    }

    private func continueHandshake(_ session: TLSSession, context: ChannelHandlerContext) {
        do throws(TLSError) {
            let isComplete = try session.handshake()
            flush(session, context: context, promise: nil)
            guard isComplete else { return }
            let keyID = try session.peerKeyID
            timer?.cancel()
            stage = .established(session)
            handshakeEnded(.success(keyID))
        } catch {
            session.sendAlert(for: error)
            flush(session, context: context, promise: nil)
            fail(.tls(error), context: context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .established(let session) = stage else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        // Whatever closes the connection from now on: what the peer has not received then, it does not get.
        _ = (context.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limits.forReceivingSecret) { [self] in
            isTooSlow = true
            context.close(promise: nil)
        }
        do throws(TLSError) {
            let plaintext = unwrapOutboundIn(data)
            try session.write(plaintext.readableBytesUInt8Span)
            // Nothing more is sent.
            session.sayGoodbye()
            stage = .ended
            context.write(wrapOutboundOut(ByteBuffer(bytes: session.takeOutput())), promise: promise)
        } catch {
            promise?.fail(error)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if case .established(let session) = stage {
            session.sayGoodbye()
            flush(session, context: context, promise: nil)
        }
        context.close(mode: mode, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        switch stage {
        case .greeting, .handshake: handshakeEnded(.failure(.closedEarly))
        case .established, .ended: break
        }
        stage = .ended
        peerLeft(isTooSlow)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The network failed: this ends the connection.
        context.close(promise: nil)
    }

    private func fail(_ failure: Failure, context: ChannelHandlerContext) {
        guard case .ended = stage else {
            stage = .ended
            timer?.cancel()
            handshakeEnded(.failure(failure))
            context.close(promise: nil)
            return
        }
    }

    private func flush(_ session: TLSSession, context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        let records = session.takeOutput()
        if !records.isEmpty { context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: records)), promise: promise) }
    }
}
