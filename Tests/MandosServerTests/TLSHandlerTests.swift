import MandosFormats
import MandosTLS
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import MandosServer

/// What the handler reported.
private final class Reports: Sendable {
    let ended = NIOLockedValueBox<[String]>([])
    let left = NIOLockedValueBox(0)
}

private struct Peer {
    let channel = EmbeddedChannel()
    let reports = Reports()

    init() throws {
        let reports = reports
        let handler = TLSHandler(priority: try Priority(), credentials: try Credentials(), limits: .init()) { result in
            reports.ended.withLockedValue {
                switch result {
                case .success(let keyID): $0.append("key \(keyID.map(String.init(describing:)) ?? "none")")
                case .failure(let failure): $0.append("\(failure)")
                }
            }
        } peerLeft: { _ in
            reports.left.withLockedValue { $0 += 1 }
        }
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: SocketAddress(ipAddress: "::1", port: 1)).wait()
    }

    func send(_ bytes: [UInt8]) throws { try channel.writeInbound(ByteBuffer(bytes: bytes)) }

    func output() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { bytes += buffer.readableBytesView }
        return bytes
    }

    var ended: [String] { reports.ended.withLockedValue { $0 } }
    var left: Int { reports.left.withLockedValue { $0 } }
}

/// A Mandos client with a new key.
private func makeClient() throws -> (TLSSession, KeyID) {
    let keys = try KeyPair.generate(.ed25519)
    let credentials = try Credentials(
        publicKey: keys.publicKey, privateKey: keys.privateKey, diffieHellman: .automatic)
    let session = try TLSSession(role: .mandosClient, priority: Priority(), credentials: credentials)
    return (session, keys.keyID)
}

@Suite struct `The TLS handler` {
    @Test func `reports the key, sends plain text as records, and ends with a goodbye`() throws {
        let (client, keyID) = try makeClient()
        let peer = try Peer()
        for byte in Greeting.line { try peer.send([byte]) }
        for _ in 0..<3 where peer.ended.isEmpty {
            let records = try peer.output()
            client.receive(records.span)
            _ = try client.handshake()
            try peer.send(client.takeOutput())
        }
        #expect(peer.ended == ["key \(keyID)"])
        try peer.channel.writeOutbound(ByteBuffer(string: "secret"))
        try peer.channel.close().wait()
        let records = try peer.output()
        client.receive(records.span)
        #expect(try client.handshake())
        #expect(try client.read() == .bytes(Array("secret".utf8)))
        #expect(try client.read() == .end)
        #expect(peer.ended.count == 1)
        #expect(peer.left == 1)
    }

    @Test(arguments: ["2\r\n", "GET / HTTP/1.0\r\n\r\n", String(repeating: "1", count: 64), "\u{16}\u{3}\u{1}\n"])
    func `closes at a bad greeting, without a word`(greeting: String) throws {
        let peer = try Peer()
        try peer.send(Array(greeting.utf8))
        #expect(peer.ended == ["it did not begin with a protocol version that this server speaks"])
        #expect(try peer.output().isEmpty)
        #expect(!peer.channel.isActive)
    }

    @Test func `closes at garbage instead of a handshake`() throws {
        let peer = try Peer()
        try peer.send(Greeting.line + Array("not a TLS record, but long enough to be read as one".utf8))
        #expect(peer.ended.count == 1)
        #expect(peer.ended.first?.hasPrefix("TLS handshake: ") == true)
        #expect(!peer.channel.isActive)
    }

    @Test(arguments: [[], Array("1".utf8), Greeting.line])
    func `closes if the handshake takes too long`(start: [UInt8]) throws {
        let peer = try Peer()
        try peer.send(start)
        peer.channel.embeddedEventLoop.advanceTime(by: .seconds(14))
        #expect(peer.ended.isEmpty)
        peer.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(peer.ended == ["it took too long to complete the TLS handshake"])
        #expect(!peer.channel.isActive)
        #expect(peer.left == 1)
    }

    @Test func `reports a peer that leaves early, once`() throws {
        let peer = try Peer()
        try peer.send(Greeting.line)
        try peer.channel.close().wait()
        #expect(peer.ended == ["it left before the TLS handshake was complete"])
        #expect(peer.left == 1)
    }
}
