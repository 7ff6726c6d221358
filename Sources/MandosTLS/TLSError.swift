import CGnuTLS

/// A failure of GnuTLS: the action that failed, and GnuTLS's reason.
public struct TLSError: Error, CustomStringConvertible {
    let action: String
    let code: Int32

    public var description: String { action + ": " + reason }

    private var reason: String {
        guard let text = unsafe gnutls_strerror(code) else { return "GnuTLS error \(code)" }
        var reason = unsafe Array(String(cString: text).utf8)
        if reason.last == UInt8(ascii: ".") { reason.removeLast() }
        return String(decoding: reason, as: UTF8.self)
    }

    /// Whether reading the Diffie-Hellman parameters failed, which TLS 1.3 does not need.
    public var isAboutDiffieHellman: Bool { action.utf8.elementsEqual(Self.readingDiffieHellman.utf8) }
    static let readingDiffieHellman = "reading Diffie-Hellman parameters"

    /// Whether the peer ended the connection without the TLS close alert, so that its data may be cut short.
    public var isPrematureEnd: Bool { code == GNUTLS_E_PREMATURE_TERMINATION }
}

/// Throws if a GnuTLS call failed, which a negative return value means.
@discardableResult
func check(_ action: String, _ code: Int32) throws(TLSError) -> Int32 {
    if code < 0 { throw TLSError(action: action, code: code) }
    return code
}

/// Calls `body` with a datum that refers to the bytes; it is valid only during the call.
func withDatum<Result, Failure: Error>(
    _ bytes: [UInt8], _ body: (inout gnutls_datum_t) throws(Failure) -> Result
) throws(Failure) -> Result {
    try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(Failure) -> Result in
        // GnuTLS declares the pointer mutable, but only reads.
        var datum = unsafe gnutls_datum_t(
            data: UnsafeMutablePointer(mutating: buffer.baseAddress), size: UInt32(clamping: buffer.count))
        return try unsafe body(&datum)
    }
}

/// Copies a datum that GnuTLS allocated, then zeroes and frees it.
func bytes(freeing datum: gnutls_datum_t) -> [UInt8] {
    let buffer = unsafe UnsafeBufferPointer(start: datum.data, count: Int(datum.size))
    let bytes = unsafe Array(buffer)
    unsafe gnutls_memset(datum.data, 0, Int(datum.size))
    unsafe cgnutls_free(datum.data)
    return bytes
}
