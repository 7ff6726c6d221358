import ArgumentParser
import FoundationEssentials
import MandosCore
import MandosFormats
import POSIXKit

@main struct Mandos: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos",
        abstract: "Serve encrypted passwords to clients that prove they hold their TLS key.",
        discussion:
            "Clients are listed in clients.conf; see mandos-clients.conf(5). Every option overrides mandos.conf.",
        version: "mandos \(mandosVersion)")

    @Option(name: .shortAndLong, help: "Serve on this network interface only.")
    var interface: String?

    @Option(name: .shortAndLong, help: "Serve on this address only; IPv6, unless --no-ipv6.")
    var address: String?

    @Option(name: .shortAndLong, help: "Port to serve on. (default: one that is free)")
    var port: UInt16?

    @Flag(help: "Check this program, the configuration and the saved state, and exit.")
    var check = false

    @Flag(help: "Stay in the foreground and log everything.")
    var debug = false

    @Option(
        name: .customLong("debuglevel"),
        help: ArgumentHelp(
            "Log level: CRITICAL, ERROR, WARNING, INFO or DEBUG; also for parts of the server, as in"
                + " client=INFO,tls=ERROR. (default: WARNING)", valueName: "level"),
        transform: { text throws in
            do throws(LogLevels.SyntaxError) {
                return try LogLevels(parsing: text)
            } catch {
                throw ValidationError("\(error)")
            }
        })
    var logLevels: LogLevels?

    @Option(help: "GnuTLS priority string; see gnutls_priority_init(3).")
    var priority: String?

    @Option(
        name: .customLong("servicename"), help: "Name to announce the server under. (default: Mandos)",
        transform: { name throws in
            if let problem = ServiceName.problem(with: name) { throw ValidationError(problem) }
            return name
        })
    var serviceName: String?

    @Option(name: .customLong("configdir"), help: "Directory of the configuration files.")
    var configurationDirectory = "/etc/mandos"

    @Flag(name: .customLong("no-dbus"), help: "Run without the D-Bus interface.")
    var noDBus = false

    @Flag(name: .customLong("no-ipv6"), help: "Use IPv4 only; not recommended.")
    var noIPv6 = false

    @Flag(name: .customLong("no-restore"), help: "Put the saved state aside and start from clients.conf alone.")
    var noRestore = false

    @Option(name: .customLong("statedir"), help: "Directory of the saved state. (default: /var/lib/mandos)")
    var stateDirectory: String?

    @Option(
        name: .customLong("backup"),
        help: ArgumentHelp(
            "Write a copy of the saved state to a new file (- is standard output), also while a server runs, and exit.",
            valueName: "file"), completion: .file())
    var backupFile: String?

    @Option(
        name: .customLong("restore"),
        help: ArgumentHelp(
            "Take a file that --backup has written as the saved state, put the present one aside, and exit.",
            valueName: "file"), completion: .file())
    var restoreFile: String?

    @Option(help: "Use this open file descriptor, a listening socket, instead of an address and a port.")
    var socket: Int32?

    @Flag(help: "Stay in the foreground.")
    var foreground = false

    @Flag(name: .customLong("no-zeroconf"), help: "Do not announce the server; needs a port or a socket.")
    var noZeroconf = false

    func validate() throws(ValidationError) {
        if [check, backupFile != nil, restoreFile != nil].count(where: { $0 }) > 1 {
            throw ValidationError("--check, --backup and --restore exclude each other")
        }
        if port == 0 { throw ValidationError("a port is a number from 1 to 65535; leave --port out for any free one") }
    }

    func run() {
        Hardening.protectProcess()
        // Otherwise Dispatch complains to syslog, at every start, that an ordinary user may not raise its threads' priority.
        if ProcessEnvironment.value(of: "LIBDISPATCH_LOG") == nil { setEnvironment("LIBDISPATCH_LOG", to: "NO") }
        let copy = StateCopy(configurationDirectory: configurationDirectory, options: options)
        if let backupFile { copy.backUp(to: backupFile) }
        if let restoreFile { copy.restore(from: restoreFile) }
        if check { StartupCheck(configurationDirectory: configurationDirectory, options: options).run() }
        ServerStart(configurationDirectory: configurationDirectory, options: options).run()
    }

    private var options: ServerOptions {
        ServerOptions(
            interface: interface, address: address, port: port, isDebugging: debug, logLevels: logLevels,
            priority: priority, serviceName: serviceName, stateDirectory: stateDirectory, socket: socket,
            isForeground: foreground, isWithoutDBus: noDBus, isWithoutIPv6: noIPv6, isWithoutRestore: noRestore,
            isWithoutZeroconf: noZeroconf, currentDirectory: FileManager.default.currentDirectoryPath)
    }
}
