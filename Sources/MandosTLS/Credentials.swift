import CGnuTLS

/// The credentials of one side of a handshake: a raw public key (the Mandos client) or none (the Mandos server).
@safe public final class Credentials: @unchecked Sendable {  // immutable once made
    let handle: gnutls_certificate_credentials_t
    private let parameters: gnutls_dh_params_t?

    /// No key, as on the Mandos server.
    public init() throws(TLSError) {
        unsafe handle = try Self.allocate()
        unsafe parameters = nil
    }

    /// The parameters of a finite-field Diffie-Hellman key exchange; TLS 1.3 has its own and ignores this.
    public enum DiffieHellman {
        /// Those of GnuTLS's highest security level.
        case automatic
        /// A standard group of at least this many bits (RFC 7919).
        case bits(UInt32)
        /// The contents of a PEM-encoded PKCS#3 file.
        case parameters([UInt8])
    }

    /// A raw public key and its private key; both are contents of PEM files.
    ///
    /// - Throws: also if the keys do not belong together, which GnuTLS itself would notice only in the handshake.
    public init(publicKey: [UInt8], privateKey: [UInt8], diffieHellman: DiffieHellman) throws(TLSError) {
        let keyID = try PublicKey.read(pem: publicKey).keyID
        guard try PublicKey.derive(from: .read(pem: privateKey)).keyID == keyID else {
            throw TLSError(action: "loading the TLS key pair", code: GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        }
        let handle = unsafe try Self.allocate()
        var parameters: gnutls_dh_params_t?
        do throws(TLSError) {
            try unsafe withDatum(publicKey) { (publicDatum) throws(TLSError) in
                try unsafe withDatum(privateKey) { (privateDatum) throws(TLSError) in
                    let signing = UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE)
                    let code = unsafe gnutls_certificate_set_rawpk_key_mem(
                        handle, &publicDatum, &privateDatum, GNUTLS_X509_FMT_PEM, nil, signing, nil, 0, 0)
                    try check("loading the TLS key pair", code)
                }
            }
            unsafe parameters = try Self.set(diffieHellman, in: handle)
        } catch {
            unsafe gnutls_certificate_free_credentials(handle)
            throw error
        }
        unsafe self.handle = handle
        unsafe self.parameters = parameters
    }

    deinit {
        unsafe gnutls_certificate_free_credentials(handle)
        if let parameters = unsafe parameters { unsafe gnutls_dh_params_deinit(parameters) }
    }

    private static func allocate() throws(TLSError) -> gnutls_certificate_credentials_t {
        var raw: gnutls_certificate_credentials_t?
        try unsafe check("allocating TLS credentials", gnutls_certificate_allocate_credentials(&raw))
        guard let raw = unsafe raw else { preconditionFailure("GnuTLS reported success without credentials") }
        return unsafe raw
    }

    /// - Returns: parameters that must live as long as the credentials, or nil.
    private static func set(
        _ diffieHellman: DiffieHellman, in handle: gnutls_certificate_credentials_t
    ) throws(TLSError) -> gnutls_dh_params_t? {
        switch diffieHellman {
        case .automatic:
            let level = gnutls_sec_param_t(rawValue: GNUTLS_SEC_PARAM_ULTRA.rawValue)
            try unsafe check(
                "choosing Diffie-Hellman parameters", gnutls_certificate_set_known_dh_params(handle, level))
            return nil
        case .bits(let bits):
            let level = gnutls_pk_bits_to_sec_param(GNUTLS_PK_DH, bits)
            try unsafe check(
                "choosing Diffie-Hellman parameters", gnutls_certificate_set_known_dh_params(handle, level))
            return nil
        case .parameters(let pem):
            var raw: gnutls_dh_params_t?
            try unsafe check("allocating Diffie-Hellman parameters", gnutls_dh_params_init(&raw))
            guard let parameters = unsafe raw else { preconditionFailure("GnuTLS reported success without parameters") }
            let code = unsafe withDatum(pem) { datum in
                unsafe gnutls_dh_params_import_pkcs3(parameters, &datum, GNUTLS_X509_FMT_PEM)
            }
            do throws(TLSError) {
                try check(TLSError.readingDiffieHellman, code)
            } catch {
                unsafe gnutls_dh_params_deinit(parameters)
                throw error
            }
            unsafe gnutls_certificate_set_dh_params(handle, parameters)
            return unsafe parameters
        }
    }
}
