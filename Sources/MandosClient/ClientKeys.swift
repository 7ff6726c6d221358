public import InitramfsKit
public import MandosTLS

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
        case tls(path: String, TLSError)

        public var description: String {
            switch self {
            case .file(let error): "\(error); mandos-keygen makes the keys"
            case .tls(let path, let error): "\(path): \(error)"
            }
        }
    }

    /// Loads the TLS keys; the private one is zeroed in our own memory afterwards.
    public func credentials(diffieHellman: Credentials.DiffieHellman) throws(Problem) -> Credentials {
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
            throw .tls(path: tlsPrivateKeyFile, error)
        }
    }
}
