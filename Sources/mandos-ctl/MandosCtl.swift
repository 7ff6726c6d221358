import ArgumentParser
import MandosBus
import MandosFormats
import POSIXKit

@main struct MandosCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos-ctl",
        abstract: "Show and change the clients of the Mandos server.",
        usage: """
            mandos-ctl [--verbose | --dump-json] [CLIENT...]          list clients
            mandos-ctl CHANGES {--all | CLIENT...}                    change them
            mandos-ctl [--deny] --remove {--all | CLIENT...}          remove them
            mandos-ctl --is-enabled CLIENT                            exit status 0 if it is
            mandos-ctl {--approve | --deny} --wait CLIENT...          wait for their requests, and answer
            mandos-ctl --watch [--dump-json] [CLIENT...]              tell what happens
            mandos-ctl --status                                       0 all enabled, 1 some not, 2 no server
            mandos-ctl --add FILE                                     add a client; - is standard input
            mandos-ctl --reload                                       read clients.conf again
            """,
        discussion:
            "Durations are written as PT5M or PT1H30M. Clients that do not exist are an error, and then nothing changes.",
        version: "mandos-ctl \(mandosVersion)")

    @Flag(name: .shortAndLong, help: "All clients.")
    var all = false

    @Flag(name: .shortAndLong, help: "List everything there is to know.")
    var verbose = false

    @Flag(name: [.customShort("j"), .long], help: "List as JSON.")
    var dumpJson = false

    enum Enabling: EnumerableFlag {
        case enable, disable

        static func name(for value: Self) -> NameSpecification { .shortAndLong }
        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .enable: "Let clients have their secrets."
            case .disable: "Let clients have nothing any more."
            }
        }
    }
    @Flag var enabling: Enabling?

    @Flag(name: .shortAndLong, help: "Take clients for alive, as if a checker had succeeded.")
    var bumpTimeout = false

    enum Checking: EnumerableFlag {
        case startChecker, stopChecker

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .startChecker: "Check clients now."
            case .stopChecker: "End the checkers that run."
            }
        }
    }
    @Flag var checking: Checking?

    @Flag(name: [.customShort("V"), .long], help: "Exit with 0 if the client is enabled, else with 1.")
    var isEnabled = false

    @Flag(name: .shortAndLong, help: "Remove clients; they stay away while clients.conf still has them.")
    var remove = false

    @Option(name: .shortAndLong, help: ArgumentHelp("Set the checker.", valueName: "command"))
    var checker: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("Set the timeout.", valueName: "time"), transform: timeSpan)
    var timeout: TimeSpan?

    @Option(help: ArgumentHelp("Set the timeout after a secret.", valueName: "time"), transform: timeSpan)
    var extendedTimeout: TimeSpan?

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Set how often to check.", valueName: "time"), transform: timeSpan)
    var interval: TimeSpan?

    enum DefaultApproval: EnumerableFlag {
        case approveByDefault, denyByDefault

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .approveByDefault: "Approve requests that nobody answers."
            case .denyByDefault: "Deny requests that nobody answers."
            }
        }
    }
    @Flag var defaultApproval: DefaultApproval?

    @Option(
        help: ArgumentHelp("Set how long requests wait for an answer.", valueName: "time"), transform: timeSpan)
    var approvalDelay: TimeSpan?

    @Option(help: ArgumentHelp("Set how long an answer holds.", valueName: "time"), transform: timeSpan)
    var approvalDuration: TimeSpan?

    @Option(name: [.customShort("H"), .long], help: ArgumentHelp("Set the host.", valueName: "string"))
    var host: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Set the secret to what a file holds; - is standard input.", valueName: "filename"),
        completion: .file())
    var secret: String?

    enum Approval: EnumerableFlag {
        case approve, deny

        static func name(for value: Self) -> NameSpecification {
            switch value {
            case .approve: [.customShort("A"), .long]
            case .deny: [.customShort("D"), .long]
            }
        }
        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .approve: "Approve the requests that wait."
            case .deny: "Deny the requests that wait."
            }
        }
    }
    @Flag var approval: Approval?

    @Flag(help: "With --approve or --deny: wait until there is a request.")
    var wait = false

    @Flag(help: "Tell what happens, until interrupted.")
    var watch = false

    @Flag(help: "Show the server and how many clients are in which state.")
    var status = false

    @Option(
        help: ArgumentHelp(
            "Add the client whose section is in a file, as mandos-keygen prints it.", valueName: "filename"),
        completion: .file())
    var add: String?

    @Flag(help: "Have the server read its configuration again.")
    var reload = false

    @Flag(help: "Show what is said on the bus.")
    var debug = false

    @Flag(help: "See whether the bus and the server answer.")
    var check = false

    @Argument(help: ArgumentHelp("Names of clients.", valueName: "client"))
    var clients: [String] = []

    // MARK: What goes with what

    private static func timeSpan(_ text: String) throws -> TimeSpan {
        do throws(DurationSyntaxError) {
            return try TimeSpan(parsing: text)
        } catch {
            throw ValidationError("\(error); write a duration such as PT5M or PT1H30M")
        }
    }

    /// Whether something about clients is to be changed.
    private var isChange: Bool { !settings.isEmpty || isAction || secret != nil }

    private var isAction: Bool {
        enabling != nil || bumpTimeout || checking != nil || approval != nil || remove
    }

    func validate() throws {
        let whole = [status, reload, check, add != nil, watch, isEnabled, wait].count { $0 }
        if status || reload || check || add != nil {
            guard whole == 1, !isChange, clients.isEmpty, !all, !verbose, !dumpJson else {
                throw ValidationError("--status, --add, --reload and --check stand alone")
            }
            return
        }
        if watch {
            guard whole == 1, !isChange, !all, !verbose else {
                throw ValidationError("--watch goes with --dump-json and clients only")
            }
            return
        }
        if isEnabled {
            guard clients.count == 1, !isChange, !all, !verbose, !dumpJson, !wait else {
                throw ValidationError("--is-enabled takes one client and nothing else")
            }
            return
        }
        if verbose || dumpJson {
            guard !isChange, !(verbose && dumpJson), !wait else {
                throw ValidationError("--verbose and --dump-json list, and cannot go with anything else")
            }
        }
        if remove {
            guard settings.isEmpty, secret == nil, enabling == nil, !bumpTimeout, checking == nil, approval != .approve
            else { throw ValidationError("--remove goes with --deny only") }
        }
        if wait && (approval == nil || remove || all) {
            throw ValidationError("--wait goes with --approve or --deny, and with the names of clients")
        }
        if let interval, interval == .zero { throw ValidationError("an interval must be longer than nothing") }
        if all && !clients.isEmpty { throw ValidationError("name clients, or say --all, but not both") }
        if all && !isChange { throw ValidationError("--all is for changes; to list all clients, say nothing") }
        if isChange && clients.isEmpty && !all { throw ValidationError("name the clients to change, or say --all") }
    }

    /// The settings to change, as properties on the bus.
    private var settings: [(ClientProperty, BusValue)] {
        func span(_ property: ClientProperty, _ span: TimeSpan?) -> (ClientProperty, BusValue)? {
            span.map { (property, .uint64(UInt64($0.milliseconds))) }
        }
        return [
            checker.map { (.checker, .string($0)) }, host.map { (.host, .string($0)) },
            span(.timeout, timeout), span(.extendedTimeout, extendedTimeout), span(.interval, interval),
            span(.approvalDelay, approvalDelay), span(.approvalDuration, approvalDuration),
            defaultApproval.map { (.approvedByDefault, .boolean($0 == .approveByDefault)) },
        ].compactMap { $0 }
    }

    // MARK: Doing it

    func run() throws {
        do throws(BusError) {
            let server = try ServerProxy(isTold: debug)
            if check { return try tell("The bus is there, and \(server.greeting()).") }
            if let add { return try server.add(Self.contents(of: add)) }
            if reload { return try server.reload() }
            if status { return try showStatus(server) }
            if watch { try Watch(server, names: clients, asJSON: dumpJson).run() }
            if !isChange && !isEnabled { return try list(server) }
            try act(on: find(try server.clients([.name, .enabled])), server)
        } catch {
            Self.stop(ServerProxy.explain(error), status ? .critical : .failure)
        }
    }

    private func list(_ server: ServerProxy) throws(BusError) {
        let properties = verbose || dumpJson ? ClientTable.allColumns : ClientTable.usualColumns
        let found = find(try server.clients(properties))
        tell(dumpJson ? ClientJSON.text(found, properties) : ClientTable(found, properties).text)
    }

    /// The clients that were named, or all.
    private func find(_ clients: [ClientProxy]) -> [ClientProxy] {
        if self.clients.isEmpty { return clients }
        let byName = Dictionary(clients.map { ($0.name, $0) }) { $1 }
        let missing = self.clients.filter { byName[$0] == nil }
        if !missing.isEmpty {
            let list = missing.map { "\"\($0)\"" }.joined(separator: ", ")
            Self.stop("the server has no client \(list); nothing was changed", .failure)
        }
        return self.clients.compactMap { byName[$0] }
    }

    private func act(on clients: [ClientProxy], _ server: ServerProxy) throws(BusError) {
        if isEnabled {
            let status: Status = clients.allSatisfy { $0[.enabled]?.boolean == true } ? .success : .failure
            Self.exit(status)
        }
        var changes = settings
        if let secret { changes.append((.secret, .bytes(Self.contents(of: secret)))) }
        for client in clients {
            for (property, value) in changes { try server.set(property, to: value, of: client) }
            if let enabling { try server.set(.enabled, to: .boolean(enabling == .enable), of: client) }
            if bumpTimeout { try server.set(.lastCheckedOK, to: .string(""), of: client) }
            if let checking {
                try server.set(.checkerRunning, to: .boolean(checking == .startChecker), of: client)
            }
            if let approval, !wait { try server.answer(client, approved: approval == .approve) }
            if remove { try server.remove(client) }
        }
        if let approval, wait {
            try server.answerWhenAsked(clients, approved: approval == .approve)
        }
    }

    private func showStatus(_ server: ServerProxy) throws(BusError) {
        let status = try server.status()
        tell(status.lines.joined(separator: "\n"))
        Self.exit(status.disabled == 0 ? .success : .failure)
    }

    private static func contents(of path: String) -> [UInt8] {
        do throws(SystemError) {
            return try readFile(path == "-" ? "/dev/stdin" : path, limit: largestSecret)
        } catch {
            stop("\(error)", .failure)
        }
    }

    /// In bytes, as the server's limit.
    private static let largestSecret = 16 << 20

    enum Status: Int32 {
        case success = 0
        case failure = 1
        /// For monitoring: there is no server.
        case critical = 2
    }

    private static func exit(_ status: Status) -> Never { Self.exit(withError: ExitCode(status.rawValue)) }

    private static func stop(_ message: String, _ status: Status) -> Never {
        complain("mandos-ctl", message)
        exit(status)
    }
}

/// Writes a line, or more, to standard output at once; if that fails, there is no point in going on.
func tell(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    do {
        _ = try unsafe bytes.withUnsafeBytes { try unsafe writeAll($0, to: ExitStatus.standardOutput) }
    } catch {
        complain("mandos-ctl", "standard output: \(error)")
        MandosCtl.exit(withError: ExitCode(MandosCtl.Status.failure.rawValue))
    }
}
