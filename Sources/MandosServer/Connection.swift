import MandosCore
import MandosFormats
import NIOCore

/// A peer that has completed the handshake, and may get its secret over this connection.
struct Connection: Sendable {
    /// The key that it proved to have, if any.
    let keyID: KeyID?
    /// Where it connects from.
    let address: String

    private let channel: any Channel
    /// Ends when the peer leaves.
    private let presence: AsyncStream<Never>

    init(keyID: KeyID?, address: String, channel: any Channel, presence: AsyncStream<Never>) {
        self.keyID = keyID
        self.address = address
        self.channel = channel
        self.presence = presence
    }

    struct PeerLeft: Error {}

    /// Waits for `span`.
    ///
    /// - Throws: ``PeerLeft`` as soon as the peer leaves.
    func wait(for span: TimeSpan) async throws {
        let presence = presence
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Task.sleep(for: .milliseconds(span.milliseconds)) }
            group.addTask {
                for await _ in presence {}
                try Task.checkCancellation()
                throw PeerLeft()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Sends the secret; returns when the network has taken all of it.
    func send(_ secret: Secret) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: secret.bytes))
    }

    /// Says goodbye and ends the connection.
    func close() async {
        // It fails only if the connection has ended already.
        try? await channel.close()
    }
}
