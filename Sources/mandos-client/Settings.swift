import InitramfsKit
import MandosClient
import MandosFormats
import MandosTLS
import POSIXKit

/// The settings from the command line of mandos-client(8mandos).
struct Settings {
    private enum Option: Equatable, Sendable {
        case connect, server, domain, interface, publicKey, secretKey, tlsPublicKey, tlsPrivateKey, priority, dhBits,
            dhParameters
        case delay, retry, networkHookDirectory, networkHookTimeout, debug
    }

    /// Servers from `--connect` and `--server`.
    private(set) var servers: [ServerName] = []
    /// Domains whose servers are looked up in DNS.
    private(set) var domains: [String] = []
    /// The last value of `--connect`; with it, servers are not searched with Zeroconf.
    private(set) var connect: String?
    private(set) var interfaces: [String] = []
    private(set) var keys = ClientKeys()
    private(set) var priority = Priority.standard
    private(set) var dhBits: UInt32?
    private(set) var dhParametersFile: String?
    private(set) var retryInterval = TimeSpan.seconds(10)
    /// In milliseconds.
    private(set) var delay: Int64 = 2500
    /// The delay as given, for network hooks.
    private(set) var delayText = "2.5"
    private(set) var networkHookDirectory = NetworkHooks.standardDirectory
    /// In milliseconds.
    private(set) var networkHookTimeout = NetworkHooks.standardTimeLimit
    private(set) var debug = false

    private static let reader = CommandLineReader<Option>(
        program: "mandos-client",
        summary: "Get this machine's password from a Mandos server, and print it.",
        options: [
            CommandLineOption(
                .connect, "connect", short: "c", value: "ADDRESS:PORT",
                "Ask this server, and do not search for others with Zeroconf. May be repeated: all are asked."),
            CommandLineOption(
                .server, "server", value: "ADDRESS[:PORT]",
                "Ask this server in addition to those that are found. May be repeated. Default port: 4711."),
            CommandLineOption(
                .domain, "domain", value: "DOMAIN",
                "Also ask the servers that DNS names for _mandos._tcp in this domain. May be repeated."),
            CommandLineOption(
                .interface, "interface", short: "i", value: "NAME[,NAME...]",
                "Use these network interfaces, and bring them up. Default: all that can reach a local network."),
            CommandLineOption(
                .publicKey, "pubkey", short: "p", value: "FILE",
                "OpenPGP public key; not read, since the secret key file contains it."),
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
                .delay, "delay", value: "SECONDS",
                "How long interfaces may take to come up before failures are reported. Default: 2.5."),
            CommandLineOption(
                .retry, "retry", value: "SECONDS", "Interval between two tries of the same server. Default: 10."),
            CommandLineOption(
                .networkHookDirectory, "network-hook-dir", value: "DIR",
                "Directory of the network hooks. Default: /lib/mandos/network-hooks.d."),
            CommandLineOption(
                .networkHookTimeout, "network-hook-timeout", value: "SECONDS",
                "How long each network hook may take before it is killed. Default: 60."),
            CommandLineOption(.debug, "debug", "Report on standard error what happens."),
        ])

    /// Reads the command line; an invalid one ends the program with `EX_USAGE`.
    static func read(_ program: StaticString) -> Settings {
        var settings = Settings()
        for (option, value) in reader.read(version: mandosVersion) {
            if let problem = settings.apply(option, value) {
                complain(program, problem)
                ExitStatus.usage.exit()
            }
        }
        return settings
    }

    /// - Returns: a problem with the value, if there is one.
    private mutating func apply(_ option: Option, _ value: String) -> String? {
        switch option {
        case .connect:
            do throws(ServerName.Problem) {
                servers.append(try ServerName(parsing: value))
                connect = value
            } catch {
                return "--connect=\(value): \(error)"
            }
        case .server:
            do throws(ServerName.Problem) {
                servers.append(try ServerName(parsingWithOptionalPort: value))
            } catch {
                return "--server=\(value): \(error)"
            }
        case .domain:
            guard !value.utf8.isEmpty, value.utf8.count <= Self.maximumDomainLength else {
                return "--domain: not a domain name"
            }
            domains.append(value)
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
        case .retry: return apply("retry", value) { $0.retryInterval = $1 }
        case .delay:
            delayText = value
            return apply("delay", value) { $0.delay = $1.milliseconds }
        case .networkHookTimeout:
            return apply("network-hook-timeout", value) { $0.networkHookTimeout = $1.milliseconds }
        case .networkHookDirectory: networkHookDirectory = value
        case .debug: debug = true
        }
        return nil
    }

    private mutating func apply(_ option: String, _ value: String, _ set: (inout Settings, TimeSpan) -> Void) -> String?
    {
        guard let span = try? TimeSpan(decimalSeconds: value) else {
            return "--" + option + "=" + value + ": not a number of seconds"
        }
        set(&self, span)
        return nil
    }

    /// RFC 1035 §2.3.4.
    private static let maximumDomainLength = 253

    var selection: InterfaceSelection {
        InterfaceSelection(names: interfaces, isForNamedServers: connect != nil)
    }

    var hooks: NetworkHooks {
        NetworkHooks(
            directory: networkHookDirectory, devices: interfaces, delay: delayText, connect: connect, isVerbose: debug,
            timeLimit: networkHookTimeout)
    }

    /// The parameters to use; if their file cannot be read, reports that and uses standard ones.
    func diffieHellman(_ program: StaticString) -> Credentials.DiffieHellman {
        if let path = dhParametersFile {
            do throws(SystemError) {
                return .parameters(try readFile(path, limit: ClientKeys.maximumFileSize))
            } catch {
                complain(program, "\(error); using standard parameters")
            }
        }
        return dhBits.map { .bits($0) } ?? .automatic
    }
}
