import Glibc
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
        let wakeUp = WakeUp()

        func end() {
            hasLeft.store(true, ordering: .releasing)
            wakeUp.signal()
        }

        var isOver: Bool { hasLeft.load(ordering: .acquiring) }
    }

    /// Why a request ended without an answer.
    enum Failure: Error, CustomStringConvertible {
        case peerLeft
        case stopping
        /// The client was disabled, or lost its right to the secret in another way, while it was being sent.
        case cut
        /// The kernel did not take all of the secret.
        case notSent(any Error)

        var description: String {
            switch self {
            case .peerLeft: "the client left while it waited for approval"
            case .stopping: "the server is stopping"
            case .cut: "the client lost its right to the secret while it was being sent"
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

    /// Sends the secret; returns when the kernel has taken all of it.
    func send(_ secret: Secret) async throws(Failure) {
        do {
            try await channel.writeAndFlush(ByteBuffer(bytes: secret.bytes))
        } catch {
            throw isCut.load(ordering: .acquiring) ? .cut : .notSent(error)
        }
    }

    /// Closes the connection after `span`, even while the secret is being sent.
    func end(after span: TimeSpan) {
        channel.eventLoop.scheduleTask(in: .milliseconds(span.milliseconds)) { [channel] in
            channel.close(promise: nil)
        }
    }

    /// Closes the connection at once; what the kernel has not sent yet is dropped. Returns when that is done.
    func cut() async {
        isCut.store(true, ordering: .releasing)
        // Fails only if the connection is closed already.
        try? await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try? await channel.close()
    }

    /// Sends the TLS goodbye and closes the connection.
    func close() async {
        // This fails only if the connection is closed already.
        try? await channel.close()
    }
}
