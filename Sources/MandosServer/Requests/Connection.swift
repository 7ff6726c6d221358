import MandosCore
import MandosFormats
import NIOCore
import ServiceLifecycle
import Synchronization

/// A connection whose peer has completed the handshake.
final class Connection: Sendable {
    /// The key whose possession the peer proved; nil if it presented none.
    let keyID: KeyID?
    /// The peer's address and port.
    let address: String
    /// What the peer counts as, as ``PeerAddress/source(of:)`` says.
    let source: String

    private let channel: any Channel
    private let presence: Presence
    private let isCut = Atomic(false)
    private let isStopping = Atomic(false)

    init(keyID: KeyID?, address: String, source: String, channel: any Channel, presence: Presence) {
        self.keyID = keyID
        self.address = address
        self.source = source
        self.channel = channel
        self.presence = presence
    }

    /// Tells whether the peer is still connected, and wakes a waiting request when it leaves.
    final class Presence: Sendable {
        private let hasLeft = Atomic(false)
        private let tooSlow = Atomic(false)
        let wakeUp = WakeUp()

        func end(isTooSlow: Bool) {
            tooSlow.store(isTooSlow, ordering: .releasing)
            hasLeft.store(true, ordering: .releasing)
            wakeUp.signal()
        }

        /// Whether it ended because the peer took too long to receive the secret.
        var wasTooSlow: Bool { tooSlow.load(ordering: .acquiring) }

        var isOver: Bool { hasLeft.load(ordering: .acquiring) }
    }

    /// Why a request ended without an answer.
    enum Failure: Error, CustomStringConvertible {
        case peerLeft
        case stopping
        /// The client was disabled, or lost its right to the secret in another way, while it was being sent.
        case cut
        case tooSlow
        /// The kernel did not take all of the secret.
        case notSent(any Error)

        var description: String {
            switch self {
            case .peerLeft: "the client left while it waited for approval"
            case .stopping: "the server is stopping"
            case .cut: "the client lost its right to the secret while it was being sent"
            case .tooSlow: "the client took too long to receive it"
            case .notSent(let error): "\(error)"
            }
        }
    }

    /// Ends a wait when it is signalled.
    var wakeUp: WakeUp { presence.wakeUp }

    /// Waits for `span`, or until ``wakeUp`` is signalled.
    ///
    /// - Throws: ``Failure/peerLeft`` as soon as the peer leaves, ``Failure/stopping`` when the server stops.
    func wait(for span: TimeSpan) async throws(Failure) {
        await cancelWhenGracefulShutdown { await self.wakeUp.wait(for: span) }
        if presence.isOver { throw .peerLeft }
        if Task.isShuttingDownGracefully { throw .stopping }
    }

    /// Sends the secret and the TLS goodbye; returns when the peer has received that, and closed its side.
    ///
    /// Until then the connection can be ``cut()``. Whatever ends it, also the end of this process, has the kernel drop what
    /// the peer has not received.
    func send(_ secret: Secret) async throws(Failure) {
        do {
            try await channel.writeAndFlush(ByteBuffer(bytes: secret.bytes))
            channel.close(mode: .output, promise: nil)
            try await channel.closeFuture.get()
        } catch {
            throw isCut.load(ordering: .acquiring) ? .cut : .notSent(error)
        }
        if isCut.load(ordering: .acquiring) { throw .cut }
        if presence.wasTooSlow { throw .tooSlow }
        if isStopping.load(ordering: .acquiring) { throw .stopping }
    }

    /// Closes the connection after `span`, even while the secret is being sent.
    func end(after span: TimeSpan) {
        channel.eventLoop.scheduleTask(in: .milliseconds(span.milliseconds)) { [self] in
            if channel.isActive { isStopping.store(true, ordering: .releasing) }
            channel.close(promise: nil)
        }
    }

    /// Closes the connection at once; what the peer has not received yet is dropped. Returns when that is done.
    func cut() async {
        isCut.store(true, ordering: .releasing)
        // Fails only if the connection is closed already.
        try? await channel.close()
    }

    /// Sends the TLS goodbye and closes the connection.
    func close() async {
        // This fails only if the connection is closed already.
        try? await channel.close()
    }
}
