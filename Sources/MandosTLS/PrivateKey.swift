import CGnuTLS
public import MandosFormats

/// A TLS private key, as in tls-privkey.pem.
@safe public struct PrivateKey: ~Copyable {
    /// Key types that can sign a TLS 1.3 handshake. Source: mandos-keygen(8) `--tls-keytype`; certtool(1).
    public enum Kind: String, CaseIterable, Sendable {
        case ed25519, ed448, ecdsa, rsa
        case rsaPSS = "rsa-pss"

        var algorithm: gnutls_pk_algorithm_t {
            switch self {
            case .ed25519: GNUTLS_PK_EDDSA_ED25519
            case .ed448: GNUTLS_PK_EDDSA_ED448
            case .ecdsa: GNUTLS_PK_ECDSA
            case .rsa: GNUTLS_PK_RSA
            case .rsaPSS: GNUTLS_PK_RSA_PSS
            }
        }
    }

    let handle: gnutls_privkey_t

    /// Generates a key with `bits`, or with the size that GnuTLS advises for 256-bit security; RSA keys of that size take
    /// many seconds.
    public static func generate(_ kind: Kind, bits: UInt32? = nil) throws(TLSError) -> PrivateKey {
        let key = try PrivateKey()
        let bits = bits ?? gnutls_sec_param_to_pk_bits(kind.algorithm, GNUTLS_SEC_PARAM_ULTRA)
        try unsafe check("making a TLS key", gnutls_privkey_generate(key.handle, kind.algorithm, bits, 0))
        return key
    }

    /// Reads the contents of a PEM file.
    public static func read(pem: [UInt8]) throws(TLSError) -> PrivateKey {
        let key = try PrivateKey()
        let code = unsafe withDatum(pem) { datum in
            unsafe gnutls_privkey_import_x509_raw(key.handle, &datum, GNUTLS_X509_FMT_PEM, nil, 0)
        }
        try check("reading the TLS private key", code)
        return key
    }

    deinit { unsafe gnutls_privkey_deinit(handle) }

    private init() throws(TLSError) {
        var raw: gnutls_privkey_t?
        try unsafe check("allocating a TLS private key", gnutls_privkey_init(&raw))
        guard let raw = unsafe raw else { preconditionFailure("GnuTLS reported success without a key") }
        unsafe handle = raw
    }

    /// The key as unencrypted PKCS#8.
    public var pem: [UInt8] {
        get throws(TLSError) {
            var raw: gnutls_x509_privkey_t?
            try unsafe check("writing the TLS private key", gnutls_privkey_export_x509(handle, &raw))
            defer { unsafe gnutls_x509_privkey_deinit(raw) }
            var datum = unsafe gnutls_datum_t()
            let plain = UInt32(GNUTLS_PKCS_PLAIN.rawValue)
            let code = unsafe gnutls_x509_privkey_export2_pkcs8(raw, GNUTLS_X509_FMT_PEM, nil, plain, &datum)
            try check("writing the TLS private key", code)
            return unsafe bytes(freeing: datum)
        }
    }
}

/// A new pair of TLS keys, as written by mandos-keygen(8).
public struct KeyPair: Sendable {
    /// Contents of PEM files.
    public let privateKey: [UInt8]
    public let publicKey: [UInt8]
    public let keyID: KeyID

    public static func generate(_ kind: PrivateKey.Kind, bits: UInt32? = nil) throws(TLSError) -> KeyPair {
        let privateKey = try PrivateKey.generate(kind, bits: bits)
        let publicKey = try PublicKey.derive(from: privateKey)
        return KeyPair(privateKey: try privateKey.pem, publicKey: try publicKey.pem, keyID: try publicKey.keyID)
    }
}
