import CGnuTLS
public import MandosFormats

/// A TLS connection in memory: the caller moves the records from and to the network.
///
/// The roles are reversed: the Mandos server is the TLS client; the Mandos client, which has the key, is the TLS server.
/// Not thread-safe.
///
/// Source: mandos(8), NETWORK PROTOCOL; RFC 7250.
@safe public final class TLSSession {
    public enum Role: Sendable { case mandosServer, mandosClient }

    /// The result of reading.
    public enum Received: Equatable {
        case bytes([UInt8])
        /// More records have to arrive first.
        case needsInput
        /// The peer has sent the TLS close alert.
        case end
    }

    /// Maximum number of bytes in one TLS record, and so from one ``read()``.
    public static let largestRecord = 16384

    /// Maximum number of bytes in one handshake message from a Mandos client: room for an RSA 15360 key, the largest that
    /// the reference's mandos-keygen makes.
    private static let largestHandshakeMessage = 4096
    /// Maximum number of bytes in a public RSA exponent; the usual one is 65537.
    private static let largestExponent = 8

    private let handle: gnutls_session_t
    // GnuTLS keeps pointers to both.
    private let priority: Priority
    private let credentials: Credentials

    private var input: [UInt8] = []
    private var consumed = 0
    private var inputHasEnded = false
    private var output: [UInt8] = []

    public init(role: Role, priority: Priority, credentials: Credentials) throws(TLSError) {
        var flags = GNUTLS_NONBLOCK.rawValue | GNUTLS_ENABLE_RAWPK.rawValue | GNUTLS_NO_TICKETS.rawValue
        switch role {
        // One key share is half the work of two, and every Mandos client accepts the first.
        case .mandosServer: flags |= UInt32(GNUTLS_CLIENT) | GNUTLS_KEY_SHARE_TOP.rawValue
        case .mandosClient: flags |= UInt32(GNUTLS_SERVER)
        }
        var raw: gnutls_session_t?
        try unsafe check("beginning a TLS session", gnutls_init(&raw, flags))
        guard let raw = unsafe raw else { preconditionFailure("GnuTLS reported success without a session") }
        unsafe handle = raw
        self.priority = priority
        self.credentials = credentials

        try unsafe check("setting the TLS priority", gnutls_priority_set(handle, priority.handle))
        let credentialsPointer = unsafe UnsafeMutableRawPointer(credentials.handle)
        try unsafe check(
            "setting the TLS credentials", gnutls_credentials_set(handle, GNUTLS_CRD_CERTIFICATE, credentialsPointer))
        switch role {
        case .mandosClient: unsafe gnutls_certificate_server_set_request(handle, GNUTLS_CERT_IGNORE)
        case .mandosServer:
            unsafe gnutls_handshake_set_max_packet_length(handle, Self.largestHandshakeMessage)
            unsafe gnutls_handshake_set_hook_function(
                handle, UInt32(GNUTLS_HANDSHAKE_CERTIFICATE_PKT.rawValue), Int32(GNUTLS_HOOK_POST), Self.inspectKey)
        }
        // The callbacks run only inside calls from `self`, so the unretained reference is valid in them.
        unsafe gnutls_transport_set_ptr(handle, Unmanaged.passUnretained(self).toOpaque())
        unsafe gnutls_transport_set_push_function(handle, Self.push)
        unsafe gnutls_transport_set_pull_function(handle, Self.pull)
    }

    deinit { unsafe gnutls_deinit(handle) }

    // MARK: Records

    /// Takes records from the network.
    public func receive(_ bytes: Span<UInt8>) {
        // Consumed bytes are removed before they outnumber the others, so that a long stream needs little memory.
        if consumed >= input.count - consumed {
            input.removeFirst(consumed)
            consumed = 0
        }
        unsafe bytes.withUnsafeBufferPointer { unsafe input.append(contentsOf: $0) }
    }

    /// Marks the end of the network data: reading past it is then an error instead of ``Received/needsInput``.
    public func receiveEnd() { inputHasEnded = true }

    /// Takes the records to be sent.
    public func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    private static let push: gnutls_push_func = { transport, data, count in
        guard let transport = unsafe transport, let data = unsafe data else { return -1 }
        let session = unsafe Unmanaged<TLSSession>.fromOpaque(transport).takeUnretainedValue()
        unsafe session.output.append(contentsOf: UnsafeRawBufferPointer(start: data, count: count))
        return count
    }

    private static let pull: gnutls_pull_func = { transport, data, capacity in
        guard let transport = unsafe transport, let data = unsafe data else { return -1 }
        let session = unsafe Unmanaged<TLSSession>.fromOpaque(transport).takeUnretainedValue()
        let count = min(session.input.count - session.consumed, capacity)
        if count == 0 {
            if session.inputHasEnded { return 0 }
            unsafe gnutls_transport_set_errno(session.handle, EAGAIN)
            return -1
        }
        unsafe session.input.withUnsafeBytes { input in
            let source = unsafe UnsafeRawBufferPointer(rebasing: input[session.consumed..<session.consumed + count])
            unsafe UnsafeMutableRawBufferPointer(start: data, count: count).copyMemory(from: source)
        }
        session.consumed += count
        return count
    }

    // MARK: The peer's key

    /// Refuses an RSA key with a large exponent: any stranger may present one, and checking its signature can take seconds.
    private static let inspectKey: gnutls_handshake_hook_func = { _, _, _, isIncoming, message in
        guard isIncoming != 0, let message = unsafe message?.pointee, unsafe message.size > 0 else { return 0 }
        let bytes = unsafe Array(UnsafeBufferPointer(start: message.data, count: Int(message.size)))
        return isReasonable(certificateMessage: bytes) ? 0 : GNUTLS_E_CERTIFICATE_ERROR
    }

    /// Whether the first key in a Certificate message has an exponent of reasonable size.
    ///
    /// Source: RFC 8446 §4.4.2: a context, then a list of keys, each with extensions; all preceded by their lengths.
    static func isReasonable(certificateMessage bytes: [UInt8]) -> Bool {
        guard let context = bytes.first else { return true }
        let start = 1 + Int(context) + 3 + 3
        guard start <= bytes.count else { return true }
        let length = bytes[(start - 3)..<start].reduce(0) { $0 << 8 | Int($1) }
        guard start + length <= bytes.count else { return true }
        do throws(TLSError) {
            let size = try PublicKey.read(der: Array(bytes[start..<(start + length)])).rsaExponentSize
            return size <= largestExponent
        } catch {
            // An invalid key fails in the handshake itself.
            return true
        }
    }

    // MARK: The conversation

    /// Continues the handshake as far as the received records allow.
    ///
    /// - Returns: whether the handshake is complete.
    public func handshake() throws(TLSError) -> Bool {
        while true {
            let code = unsafe gnutls_handshake(handle)
            if code == GNUTLS_E_SUCCESS { return true }
            if code == GNUTLS_E_AGAIN { return false }
            // Other results that are not fatal, such as warning alerts, mean: call again.
            if gnutls_error_is_fatal(code) != 0 { throw TLSError(action: "TLS handshake", code: code) }
        }
    }

    /// The ID of the raw public key whose possession the peer has proved, or nil if it has presented none.
    public var peerKeyID: KeyID? {
        get throws(TLSError) {
            guard unsafe gnutls_certificate_type_get2(handle, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK else {
                return nil
            }
            var count: UInt32 = 0
            guard let key = unsafe gnutls_certificate_get_peers(handle, &count), count > 0 else { return nil }
            var digest = [UInt8](repeating: 0, count: KeyID.byteCount)
            let code = unsafe gnutls_hash_fast(GNUTLS_DIG_SHA256, key[0].data, Int(key[0].size), &digest)
            try check("hashing the peer's key", code)
            return KeyID(digest)
        }
    }

    /// Encrypts bytes into records, which ``takeOutput()`` returns.
    public func write(_ bytes: Span<UInt8>) throws(TLSError) {
        var sent = 0
        while sent < bytes.count {
            let rest = bytes.extracting(sent...)
            let count = unsafe rest.withUnsafeBufferPointer {
                unsafe gnutls_record_send(handle, $0.baseAddress, $0.count)
            }
            sent += Int(try check("sending", Int32(clamping: count)))
        }
    }

    /// Decrypts the next record.
    public func read() throws(TLSError) -> Received {
        while true {
            var count = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: Self.largestRecord) { buffer, initialized in
                count = unsafe gnutls_record_recv(handle, buffer.baseAddress, buffer.count)
                initialized = max(count, 0)
            }
            if count > 0 { return .bytes(bytes) }
            if count == 0 { return .end }
            let code = Int32(clamping: count)
            if code == GNUTLS_E_AGAIN { return .needsInput }
            if gnutls_error_is_fatal(code) != 0 { throw TLSError(action: "receiving", code: code) }
        }
    }

    /// Sends the TLS close alert, by which the peer can tell a whole message from one cut short.
    public func sayGoodbye() {
        // A failure is ignored: the connection ends either way.
        _ = unsafe gnutls_bye(handle, GNUTLS_SHUT_WR)
    }

    /// Sends the alert for a failed handshake, if there is one for this error.
    public func sendAlert(for error: TLSError) {
        _ = unsafe gnutls_alert_send_appropriate(handle, error.code)
    }
}
