public import MandosTLS
public import POSIXKit

/// Where this machine's keys are.
///
/// Source: mandos-client(8mandos), FILES.
public struct ClientKeys {
    public var secretKeyFile = "/conf/conf.d/mandos/seckey.txt"
    public var tlsPublicKeyFile = "/conf/conf.d/mandos/tls-pubkey.pem"
    public var tlsPrivateKeyFile = "/conf/conf.d/mandos/tls-privkey.pem"

    /// No key file is longer, in bytes.
    public static let largestFile = 1 << 20

    public init() {}

    public enum Problem: Error, CustomStringConvertible {
        case file(SystemError)
        case tls(paths: String, TLSError)

        public var description: String {
            switch self {
            case .file(let error): "\(error); mandos-keygen makes the keys"
            case .tls(let paths, let error): "\(paths): \(error)"
            }
        }
    }

    /// Loads the TLS keys; the private one is zeroed in our own memory afterwards.
    ///
    /// Diffie-Hellman parameters that GnuTLS cannot use are told to `warn`, and standard ones are used.
    public func credentials(
        diffieHellman: Credentials.DiffieHellman, warn: (TLSError) -> Void = { _ in }
    ) throws(Problem) -> Credentials {
        let publicKey: [UInt8]
        var privateKey: [UInt8]
        do throws(SystemError) {
            publicKey = try readFile(tlsPublicKeyFile, limit: Self.largestFile)
            privateKey = try readFile(tlsPrivateKeyFile, limit: Self.largestFile)
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
