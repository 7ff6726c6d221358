import CGnuTLS

/// The algorithms and protocol versions that a handshake may use, in GnuTLS's notation.
///
/// Source: gnutls_priority_init(3); mandos(8) `--priority`.
@safe public final class Priority: @unchecked Sendable {  // immutable once made
    /// The default of both sides: raw public keys over TLS 1.3.
    public static let standard =
        "SECURE128:!CTYPE-X.509:+CTYPE-RAWPK:!RSA:!VERS-ALL:+VERS-TLS1.3:%PROFILE_ULTRA"

    let handle: gnutls_priority_t

    /// - Throws: if GnuTLS rejects the text; the error quotes it from the rejected part on.
    public init(_ text: String = Priority.standard) throws(TLSError) {
        var raw: gnutls_priority_t?
        var rejected = ""
        let code = unsafe text.withCString { start -> Int32 in
            var position: UnsafePointer<CChar>? = nil
            let code = unsafe gnutls_priority_init(&raw, start, &position)
            if code < 0, let position = unsafe position { rejected = unsafe String(cString: position) }
            return code
        }
        try check("priority string, from \"\(rejected)\"", code)
        guard let raw = unsafe raw else { preconditionFailure("GnuTLS reported success without a priority") }
        unsafe handle = raw
    }

    deinit { unsafe gnutls_priority_deinit(handle) }
}
