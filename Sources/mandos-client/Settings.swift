import InitramfsKit
import MandosClient
import MandosFormats
import MandosTLS

/// What the command line of mandos-client(8mandos) says.
struct Settings {
    private enum Option: Equatable, Sendable {
        case connect, interface, publicKey, secretKey, tlsPublicKey, tlsPrivateKey, priority, dhBits, dhParameters
        case retry, debug
    }

    private(set) var servers: [ServerName] = []
    private(set) var interfaces: [String] = []
    private(set) var keys = ClientKeys()
    private(set) var priority = Priority.standard
    private(set) var dhBits: UInt32?
    private(set) var dhParametersFile: String?
    private(set) var retryInterval = TimeSpan.seconds(10)
    private(set) var debug = false

    private static let reader = CommandLineReader<Option>(
        program: "mandos-client",
        summary: "Get this machine's password from a Mandos server, and print it.",
        options: [
            CommandLineOption(
                .connect, "connect", short: "c", value: "ADDRESS:PORT",
                "Ask this server. May be given several times: all are asked at the same time."),
            CommandLineOption(
                .interface, "interface", short: "i", value: "NAME[,NAME...]",
                "Use this network interface; a link-local address needs it."),
            CommandLineOption(
                .publicKey, "pubkey", short: "p", value: "FILE",
                "OpenPGP public key; the secret key has all that is needed of it."),
            CommandLineOption(.secretKey, "seckey", short: "s", value: "FILE", "OpenPGP secret key."),
            CommandLineOption(.tlsPublicKey, "tls-pubkey", short: "T", value: "FILE", "TLS raw public key."),
            CommandLineOption(.tlsPrivateKey, "tls-privkey", short: "t", value: "FILE", "TLS private key."),
            CommandLineOption(
                .priority, "priority", value: "STRING", "GnuTLS priority string; see gnutls_priority_init(3)."),
            CommandLineOption(
                .dhBits, "dh-bits", value: "BITS", "Size of the Diffie-Hellman prime; TLS 1.3 chooses its own."),
            CommandLineOption(
                .dhParameters, "dh-params", value: "FILE", "Diffie-Hellman parameters, PEM-encoded PKCS#3."),
            CommandLineOption(
                .retry, "retry", value: "SECONDS", "How long between two tries of the same server. Default: 10."),
            CommandLineOption(.debug, "debug", "Tell on standard error what happens."),
        ])

    /// Reads the command line; one that makes no sense ends the program with `EX_USAGE`.
    static func read(_ program: StaticString) -> Settings {
        var settings = Settings()
        for (option, value) in reader.read(version: mandosVersion) {
            if let problem = settings.apply(option, value) {
                complain(program, problem)
                ExitStatus.usage.exit()
            }
        }
        if settings.servers.isEmpty {
            complain(
                program, "name a server with --connect=ADDRESS:PORT; this version does not find servers by itself yet")
            ExitStatus.usage.exit()
        }
        return settings
    }

    /// - Returns: what is wrong with the value, if anything.
    private mutating func apply(_ option: Option, _ value: String) -> String? {
        switch option {
        case .connect:
            do throws(ServerName.Problem) {
                servers.append(try ServerName(parsing: value))
            } catch {
                return "--connect=\(value): \(error)"
            }
        case .interface: interfaces += value.utf8.split(separator: UInt8(ascii: ",")).map { String(Substring($0)) }
        case .publicKey: break
        case .secretKey: keys.secretKeyFile = value
        case .tlsPublicKey: keys.tlsPublicKeyFile = value
        case .tlsPrivateKey: keys.tlsPrivateKeyFile = value
        case .priority: priority = value
        case .dhBits:
            guard let bits = UInt32(value), bits > 0 else { return "--dh-bits=\(value): not a number of bits" }
            dhBits = bits
        case .dhParameters: dhParametersFile = value
        case .retry:
            do throws(DurationSyntaxError) {
                retryInterval = try TimeSpan(decimalSeconds: value)
            } catch {
                return "--retry=\(value): not a number of seconds"
            }
        case .debug: debug = true
        }
        return nil
    }

    /// The interface to use, if exactly one is named.
    ///
    /// Source: mandos-client(8mandos) `--interface`: `none` ends the list.
    var interface: String? {
        let named = interfaces.prefix { !$0.utf8.elementsEqual("none".utf8) }
        return named.count == 1 ? named.first : nil
    }

    /// A parameters file that cannot be read is complained about, and then the profile's parameters are used.
    func diffieHellman(_ program: StaticString) -> Credentials.DiffieHellman {
        if let path = dhParametersFile {
            do throws(SystemError) {
                return .parameters(try readFile(path, limit: ClientKeys.largestFile))
            } catch {
                complain(program, "\(error); using standard parameters")
            }
        }
        return dhBits.map { .bits($0) } ?? .automatic
    }
}
