import ArgumentParser
import MandosFormats

@main struct MandosCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mandos-ctl",
        abstract: "Show and change the clients of the Mandos server.",
        usage: """
            mandos-ctl [--verbose | --dump-json] [CLIENT...]          list clients
            mandos-ctl CHANGES {--all | CLIENT...}                    change them
            mandos-ctl [--deny] --remove {--all | CLIENT...}          remove them
            mandos-ctl --is-enabled CLIENT                            exit with 0 if it is enabled
            mandos-ctl {--approve | --deny} --wait CLIENT...          wait for their requests and answer
            mandos-ctl --watch [--dump-json] [CLIENT...]              print events
            mandos-ctl --status                                       0 well, 1 disabled clients or problems, 2 no server
            mandos-ctl --add FILE                                     add a client; - is standard input
            mandos-ctl --absent                                       list clients that left while disabled
            mandos-ctl --forget CLIENT...                             forget them: they may come back enabled
            mandos-ctl --reload                                       read clients.conf again
            """,
        discussion:
            "Durations are written as PT5M or PT1H30M. If one of the clients does not exist, nothing is changed.",
        version: "mandos-ctl \(mandosVersion)")

    @Flag(name: .shortAndLong, help: "All clients.")
    var all = false

    @Flag(name: .shortAndLong, help: "List all properties.")
    var verbose = false

    @Flag(name: [.customShort("j"), .long], help: "List as JSON.")
    var dumpJson = false

    enum Enabling: EnumerableFlag {
        case enable, disable

        static func name(for value: Self) -> NameSpecification { .shortAndLong }
        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .enable: "Let clients get their secrets."
            case .disable: "Stop clients from getting their secrets."
            }
        }
    }
    @Flag var enabling: Enabling?

    @Flag(name: .shortAndLong, help: "Restart the timeout, as if a checker had succeeded.")
    var bumpTimeout = false

    enum Checking: EnumerableFlag {
        case startChecker, stopChecker

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .startChecker: "Check clients now."
            case .stopChecker: "Stop running checkers."
            }
        }
    }
    @Flag var checking: Checking?

    @Flag(name: [.customShort("V"), .long], help: "Exit with 0 if the client is enabled, else with 1.")
    var isEnabled = false

    @Flag(name: .shortAndLong, help: "Remove clients, even if clients.conf still has them.")
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
            case .approveByDefault: "Approve requests that are not answered in time."
            case .denyByDefault: "Deny requests that are not answered in time."
            }
        }
    }
    @Flag var defaultApproval: DefaultApproval?

    @Option(
        help: ArgumentHelp("Set how long requests wait for an answer.", valueName: "time"), transform: timeSpan)
    var approvalDelay: TimeSpan?

    @Option(help: ArgumentHelp("Set how long an answer remains valid.", valueName: "time"), transform: timeSpan)
    var approvalDuration: TimeSpan?

    @Option(name: [.customShort("H"), .long], help: ArgumentHelp("Set the host.", valueName: "string"))
    var host: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Set the secret to the contents of a file; - is standard input.", valueName: "filename"),
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
            case .approve: "Approve waiting requests."
            case .deny: "Deny waiting requests."
            }
        }
    }
    @Flag var approval: Approval?

    @Flag(help: "With --approve or --deny: wait for a request of each client.")
    var wait = false

    @Flag(help: "Print events until interrupted.")
    var watch = false

    @Flag(help: "Show the state of the server and the number of clients by state.")
    var status = false

    @Option(
        help: ArgumentHelp(
            "Add the client whose section is in a file, as mandos-keygen prints it.", valueName: "filename"),
        completion: .file())
    var add: String?

    @Flag(help: "List clients that are remembered: they left clients.conf while disabled, or do not fit beside it.")
    var absent = false

    @Flag(help: "Forget such clients: if they come back, they are new.")
    var forget = false

    @Flag(help: "Make the server read its configuration again.")
    var reload = false

    @Flag(help: "Print D-Bus calls on standard error.")
    var debug = false

    @Flag(help: "Check whether the bus and the server answer.")
    var check = false

    @Argument(help: ArgumentHelp("Names of clients.", valueName: "client"))
    var clients: [String] = []

    // MARK: Validation

    private static func timeSpan(_ text: String) throws(ValidationError) -> TimeSpan {
        do throws(DurationSyntaxError) {
            return try TimeSpan(parsing: text)
        } catch {
            throw ValidationError("\(error); write a duration such as PT5M or PT1H30M")
        }
    }

    /// Whether clients are to be changed.
    var isChange: Bool { !settings.isEmpty || isAction || secret != nil }

    private var isAction: Bool {
        enabling != nil || bumpTimeout || checking != nil || approval != nil || remove
    }

    func validate() throws(ValidationError) {
        let exclusive = [status, reload, check, add != nil, absent, forget, watch, isEnabled, wait].count { $0 }
        if status || reload || check || add != nil || absent {
            guard exclusive == 1, !isChange, clients.isEmpty, !all, !verbose, !dumpJson else {
                throw ValidationError(
                    "--status, --add, --absent, --reload and --check take no other options and no clients")
            }
            return
        }
        if forget {
            guard exclusive == 1, !isChange, !clients.isEmpty, !all, !verbose, !dumpJson else {
                throw ValidationError("--forget takes names that --absent lists, and nothing else")
            }
            return
        }
        if watch {
            guard exclusive == 1, !isChange, !all, !verbose else {
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
                throw ValidationError("--verbose and --dump-json are for listing, and exclude each other")
            }
        }
        if remove {
            guard settings.isEmpty, secret == nil, enabling == nil, !bumpTimeout, checking == nil, approval != .approve
            else { throw ValidationError("--remove goes with --deny only") }
        }
        if wait && (approval == nil || remove || all) {
            throw ValidationError("--wait needs --approve or --deny, and names of clients")
        }
        if let interval, interval == .zero { throw ValidationError("an interval must be greater than zero") }
        if all && !clients.isEmpty { throw ValidationError("name clients or pass --all, but not both") }
        if all && !isChange { throw ValidationError("--all is for changes; without names, all clients are listed") }
        if isChange && clients.isEmpty && !all { throw ValidationError("name the clients to change, or pass --all") }
    }
}
