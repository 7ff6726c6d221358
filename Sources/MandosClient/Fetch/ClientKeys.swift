public import MandosTLS
public import POSIXKit

/// The key files of this machine.
///
/// Source: mandos-client(8mandos), FILES.
public struct ClientKeys {
    public var secretKeyFile = "/conf/conf.d/mandos/seckey.txt"
    public var tlsPublicKeyFile = "/conf/conf.d/mandos/tls-pubkey.pem"
    public var tlsPrivateKeyFile = "/conf/conf.d/mandos/tls-privkey.pem"

    /// Maximum size of a key file, in bytes.
    public static let maximumFileSize = 1 << 20

    public init() {}

    public enum Problem: Error, CustomStringConvertible {
        case file(SystemError)
        case tls(paths: String, TLSError)

        public var description: String {
            switch self {
            case .file(let error): "\(error); make the keys with mandos-keygen"
            case .tls(let paths, let error): "\(paths): \(error)"
            }
        }
    }

    /// Loads the TLS keys, and zeroes our copy of the private one afterwards.
    ///
    /// If GnuTLS cannot use the Diffie-Hellman parameters, calls `warn` and uses standard ones.
    public func credentials(
        diffieHellman: Credentials.DiffieHellman, warn: (TLSError) -> Void = { _ in }
    ) throws(Problem) -> Credentials {
        let publicKey: [UInt8]
        var privateKey: [UInt8]
        do throws(SystemError) {
            publicKey = try readFile(tlsPublicKeyFile, limit: Self.maximumFileSize)
            privateKey = try readFile(tlsPrivateKeyFile, limit: Self.maximumFileSize)
        } catch {
            throw .file(error)
        }
        defer { wipe(&privateKey) }
        do throws(TLSError) {
            return try Credentials(publicKey: publicKey, privateKey: privateKey, diffieHellman: diffieHellman)
        } catch {
            guard error.isAboutDiffieHellman else {
                throw .tls(paths: tlsPublicKeyFile + " and " + tlsPrivateKeyFile, error)
            }
            warn(error)
            return try credentials(diffieHellman: .automatic)
        }
    }
}
