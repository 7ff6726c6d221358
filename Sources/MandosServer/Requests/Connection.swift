import MandosCore
import MandosFormats
import NIOCore
import ServiceLifecycle
import Synchronization

/// A peer that has completed the handshake, and may get its secret over this connection.
final class Connection: Sendable {
    /// The key that it proved to have, if any.
    let keyID: KeyID?
    /// Where it connects from.
    let address: String

    private let channel: any Channel
    private let presence: Presence

    init(keyID: KeyID?, address: String, channel: any Channel, presence: Presence) {
        self.keyID = keyID
        self.address = address
        self.channel = channel
        self.presence = presence
    }

    /// Whether a peer is still there, and what wakes who waits on its behalf.
    final class Presence: Sendable {
        private let hasLeft = Atomic(false)
        let alarm = WakeUp()

        func end() {
            hasLeft.store(true, ordering: .releasing)
            alarm.ring()
        }

        var isOver: Bool { hasLeft.load(ordering: .acquiring) }
    }

    struct PeerLeft: Error {}

    /// Rings when there may be a new answer for the peer.
    var alarm: WakeUp { presence.alarm }

    /// Waits for `span` at most; a ring of ``alarm`` ends the wait.
    ///
    /// - Throws: ``PeerLeft`` as soon as the peer leaves, `CancellationError` when the server stops.
    func wait(for span: TimeSpan) async throws {
        await cancelWhenGracefulShutdown { await self.alarm.wait(for: span) }
        if presence.isOver { throw PeerLeft() }
        if Task.isShuttingDownGracefully { throw CancellationError() }
    }

    /// Sends the secret; returns when the network has taken all of it.
    func send(_ secret: Secret) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: secret.bytes))
    }

    /// Ends the connection before long, whatever is under way.
    func end(after span: TimeSpan) {
        channel.eventLoop.scheduleTask(in: .milliseconds(span.milliseconds)) { [channel] in
            channel.close(promise: nil)
        }
    }

    /// Says goodbye and ends the connection.
    func close() async {
        // It fails only if the connection has ended already.
        try? await channel.close()
    }
}
