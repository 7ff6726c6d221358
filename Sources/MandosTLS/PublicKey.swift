import CGnuTLS
public import MandosFormats

/// A raw public key, as in tls-pubkey.pem.
@safe public struct PublicKey: ~Copyable {
    private let handle: gnutls_pubkey_t

    /// Reads the contents of a PEM file.
    public static func read(pem: [UInt8]) throws(TLSError) -> PublicKey {
        let key = try PublicKey()
        let code = unsafe withDatum(pem) { datum in
            unsafe gnutls_pubkey_import(key.handle, &datum, GNUTLS_X509_FMT_PEM)
        }
        try check("reading the TLS public key", code)
        return key
    }

    /// Reads a SubjectPublicKeyInfo.
    static func read(der: [UInt8]) throws(TLSError) -> PublicKey {
        let key = try PublicKey()
        let code = unsafe withDatum(der) { datum in
            unsafe gnutls_pubkey_import(key.handle, &datum, GNUTLS_X509_FMT_DER)
        }
        try check("reading a TLS public key", code)
        return key
    }

    /// Length of an RSA key's public exponent, in bytes; 0 for other keys.
    var rsaExponentSize: Int {
        get throws(TLSError) {
            let algorithm = unsafe gnutls_pubkey_get_pk_algorithm(handle, nil)
            guard algorithm == Int32(GNUTLS_PK_RSA.rawValue) || algorithm == Int32(GNUTLS_PK_RSA_PSS.rawValue) else {
                return 0
            }
            var modulus = unsafe gnutls_datum_t()
            var exponent = unsafe gnutls_datum_t()
            try unsafe check("reading an RSA key", gnutls_pubkey_export_rsa_raw(handle, &modulus, &exponent))
            _ = unsafe bytes(freeing: modulus)
            return unsafe bytes(freeing: exponent).count
        }
    }

    /// The public half of `privateKey`.
    public static func derive(from privateKey: borrowing PrivateKey) throws(TLSError) -> PublicKey {
        let key = try PublicKey()
        try unsafe check(
            "deriving the TLS public key", gnutls_pubkey_import_privkey(key.handle, privateKey.handle, 0, 0))
        return key
    }

    deinit { unsafe gnutls_pubkey_deinit(handle) }

    private init() throws(TLSError) {
        var raw: gnutls_pubkey_t?
        try unsafe check("allocating a TLS public key", gnutls_pubkey_init(&raw))
        guard let raw = unsafe raw else { preconditionFailure("GnuTLS reported success without a key") }
        unsafe handle = raw
    }

    /// The ID by which the server finds the client.
    public var keyID: KeyID {
        get throws(TLSError) {
            var id = [UInt8](repeating: 0, count: KeyID.byteCount)
            var size = id.count
            let sha256 = UInt32(GNUTLS_KEYID_USE_SHA256.rawValue)
            try unsafe check("hashing the TLS public key", gnutls_pubkey_get_key_id(handle, sha256, &id, &size))
            guard size == id.count, let keyID = KeyID(id) else {
                throw TLSError(action: "hashing the TLS public key", code: GNUTLS_E_INTERNAL_ERROR)
            }
            return keyID
        }
    }

    public var pem: [UInt8] {
        get throws(TLSError) {
            var datum = unsafe gnutls_datum_t()
            try unsafe check("writing the TLS public key", gnutls_pubkey_export2(handle, GNUTLS_X509_FMT_PEM, &datum))
            return unsafe bytes(freeing: datum)
        }
    }
}
