import MandosFormats
import MandosTLS
import Testing

/// A Mandos server and a Mandos client that talk through memory.
private struct Pair {
    let server: TLSSession
    let client: TLSSession

    init(
        keys: KeyPair? = nil, priority: String = Priority.standard, clientPriority: String? = nil
    ) throws {
        let keys = try keys ?? .generate(.ed25519)
        let credentials = try Credentials(
            publicKey: keys.publicKey, privateKey: keys.privateKey, diffieHellman: .automatic)
        server = try TLSSession(role: .mandosServer, priority: Priority(priority), credentials: Credentials())
        client = try TLSSession(
            role: .mandosClient, priority: Priority(clientPriority ?? priority), credentials: credentials)
    }

    func carry() {
        client.receive(server.takeOutput().span)
        server.receive(client.takeOutput().span)
    }

    /// Both sides go on until they are done.
    func shakeHands() throws {
        var serverIsDone = false
        var clientIsDone = false
        for _ in 0..<10 where !(serverIsDone && clientIsDone) {
            if !serverIsDone { serverIsDone = try server.handshake() }
            client.receive(server.takeOutput().span)
            if !clientIsDone { clientIsDone = try client.handshake() }
            server.receive(client.takeOutput().span)
        }
        try #require(serverIsDone && clientIsDone)
    }
}

@Suite struct `A TLS session` {
    @Test(arguments: [
        (PrivateKey.Kind.ed25519, nil), (.ed448, nil), (.ecdsa, nil), (.rsa, 3072), (.rsaPSS, 3072),
    ])
    func `shows the server which key the client has`(kind: PrivateKey.Kind, bits: UInt32?) throws {
        let keys = try KeyPair.generate(kind, bits: bits)
        let pair = try Pair(keys: keys)
        try pair.shakeHands()
        #expect(try pair.server.peerKeyID == keys.keyID)
        #expect(try pair.client.peerKeyID == nil)
    }

    @Test func `carries a message of any size to its end`() throws {
        for size in [1, 1000, TLSSession.largestRecord + 1, 1 << 20] {
            let pair = try Pair()
            try pair.shakeHands()
            let message = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
            try pair.server.write(message.span)
            pair.server.sayGoodbye()
            pair.carry()
            var received: [UInt8] = []
            while case .bytes(let bytes) = try pair.client.read() { received += bytes }
            #expect(received == message)
            #expect(try pair.client.read() == .end)
        }
    }

    @Test func `tells a message cut short from a whole one`() throws {
        let pair = try Pair()
        try pair.shakeHands()
        try pair.server.write([1, 2, 3].span)
        pair.carry()
        #expect(try pair.client.read() == .bytes([1, 2, 3]))
        #expect(try pair.client.read() == .needsInput)
        pair.client.receiveEnd()
        let error = try #require(throws: TLSError.self) { try pair.client.read() }
        #expect(error.isPrematureEnd)
    }

    @Test func `goes on with records that come byte by byte`() throws {
        let pair = try Pair()
        _ = try pair.server.handshake()
        var isDone = false
        for _ in 0..<4 where !isDone {
            for byte in pair.server.takeOutput() {
                pair.client.receive([byte].span)
                _ = try pair.client.handshake()
            }
            for byte in pair.client.takeOutput() {
                pair.server.receive([byte].span)
                if !isDone { isDone = try pair.server.handshake() }
            }
        }
        #expect(isDone)
    }

    @Test func `ends at garbage with an error that says so`() throws {
        let pair = try Pair()
        _ = try pair.server.handshake()
        pair.server.receive(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8).span)
        let error = try #require(throws: TLSError.self) { try pair.server.handshake() }
        #expect(error.description.hasPrefix("TLS handshake: "))
    }

    @Test func `does not work without TLS 1.3 on both sides`() throws {
        let old = "SECURE128:!CTYPE-X.509:+CTYPE-RAWPK:!RSA:!VERS-ALL:+VERS-TLS1.2"
        let pair = try Pair(clientPriority: old)
        #expect(throws: (any Error).self) { try pair.shakeHands() }
    }

    @Test func `also works with a client that wants another key exchange first`() throws {
        let p521 = Priority.standard + ":-GROUP-ALL:+GROUP-SECP521R1"
        let keys = try KeyPair.generate(.ed25519)
        let pair = try Pair(keys: keys, clientPriority: p521)
        try pair.shakeHands()
        #expect(try pair.server.peerKeyID == keys.keyID)
    }
}

@Suite struct `TLS keys` {
    @Test func `are read as they are written`() throws {
        let keys = try KeyPair.generate(.ed25519)
        #expect(try keyID(ofPrivate: keys.privateKey) == keys.keyID)
        #expect(try keyID(ofPublic: keys.publicKey) == keys.keyID)
    }

    private func keyID(ofPrivate pem: [UInt8]) throws -> KeyID { try PublicKey.derive(from: .read(pem: pem)).keyID }
    private func keyID(ofPublic pem: [UInt8]) throws -> KeyID { try PublicKey.read(pem: pem).keyID }

    @Test(arguments: ["", "garbage", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
    func `that are none are refused`(text: String) {
        #expect(throws: TLSError.self) { try keyID(ofPublic: Array(text.utf8)) }
        #expect(throws: TLSError.self) { try keyID(ofPrivate: Array(text.utf8)) }
        #expect(throws: TLSError.self) {
            try Credentials(publicKey: Array(text.utf8), privateKey: Array(text.utf8), diffieHellman: .automatic)
        }
    }

    @Test func `of different pairs do not make credentials`() throws {
        let publicKey = try KeyPair.generate(.ed25519).publicKey
        let privateKey = try KeyPair.generate(.ed25519).privateKey
        #expect(throws: TLSError.self) {
            try Credentials(publicKey: publicKey, privateKey: privateKey, diffieHellman: .automatic)
        }
    }
}

@Suite struct `A priority string` {
    @Test func `that GnuTLS does not understand is quoted from where it goes wrong`() throws {
        let error = try #require(throws: TLSError.self) { try Priority("SECURE128:+NONSENSE") }
        #expect(error.description.contains("NONSENSE"))
    }
}
