/// Where the server is on the bus, and what it offers there.
///
/// Source: DBUS-API of the reference, and what its Introspect methods answer; docs/DBUS-API.md for what is ours.
public enum MandosAPI {
    public static let busName = "se.recompile.Mandos"
    public static let serverPath = "/"
    public static let clientsPath = "/clients"

    public static let server = Interface(
        "se.recompile.Mandos",
        methods: [
            .init("RemoveClient", takes: [.init("object_path", "o")]),
            .init("GetAllClients", gives: [.init("", "ao")], isDeprecated: true),
            .init("GetAllClientsWithProperties", gives: [.init("", "a{oa{sv}}")], isDeprecated: true),
        ],
        signals: [
            .init("ClientNotFound", [.init("key_id", "s"), .init("address", "s")]),
            .init("ClientAdded", [.init("objpath", "o")]),
            .init("ClientRemoved", [.init("objpath", "o"), .init("name", "s")], isDeprecated: true),
        ])

    public static let client = Interface(
        "se.recompile.Mandos.Client",
        methods: [
            .init("Approve", takes: [.init("value", "b")]),
            .init("CheckedOK"),
            .init("Enable", isDeprecated: true),
            .init("Disable", isDeprecated: true),
            .init("StartChecker", isDeprecated: true),
            .init("StopChecker", isDeprecated: true),
        ],
        signals: [
            .init("CheckerCompleted", [.init("exitcode", "n"), .init("waitstatus", "x"), .init("command", "s")]),
            .init("CheckerStarted", [.init("command", "s")]),
            .init("GotSecret"),
            .init("NeedApproval", [.init("timeout", "t"), .init("default", "b")]),
            .init("Rejected", [.init("reason", "s")]),
            .init("PropertyChanged", [.init("property", "s"), .init("value", "v")], isDeprecated: true),
        ],
        properties: ClientProperty.allCases.map(\.property))

    /// What is ours: beyond the reference, with a version in its name.
    public static let server1 = Interface(
        "se.recompile.Mandos.Server1",
        methods: [
            .init(
                "ListClients",
                takes: [.init("properties", "as"), .init("after", "s"), .init("limit", "u")],
                gives: [.init("clients", "a(oav)")]),
            .init("AddClient", takes: [.init("section", "s")], gives: [.init("client", "o")]),
            .init("Reload"),
        ],
        signals: [
            .init("ApprovalRequested", [.init("client", "o"), .init("timeout", "t"), .init("address", "s")])
        ],
        properties: ServerProperty.allCases.map(\.property))
}

/// What there is to know of a client, and to change.
public enum ClientProperty: String, CaseIterable, Sendable {
    case approvalDelay = "ApprovalDelay"
    case approvalDuration = "ApprovalDuration"
    case approvalPending = "ApprovalPending"
    case approvedByDefault = "ApprovedByDefault"
    case checker = "Checker"
    case checkerRunning = "CheckerRunning"
    case created = "Created"
    case enabled = "Enabled"
    case expires = "Expires"
    case extendedTimeout = "ExtendedTimeout"
    case fingerprint = "Fingerprint"
    case host = "Host"
    case interval = "Interval"
    case keyID = "KeyID"
    case lastApprovalRequest = "LastApprovalRequest"
    case lastCheckedOK = "LastCheckedOK"
    case lastCheckerStatus = "LastCheckerStatus"
    case lastEnabled = "LastEnabled"
    case name = "Name"
    case objectPath = "ObjectPath"
    case secret = "Secret"
    case timeout = "Timeout"

    /// Spans are milliseconds; points in time are RFC 3339 texts, or empty.
    public var property: Interface.Property {
        switch self {
        case .approvalDelay, .approvalDuration, .extendedTimeout, .interval, .timeout:
            .init(rawValue, "t", .readWrite)
        case .approvedByDefault, .checkerRunning, .enabled: .init(rawValue, "b", .readWrite)
        case .checker, .host, .lastCheckedOK: .init(rawValue, "s", .readWrite)
        case .approvalPending: .init(rawValue, "b")
        case .expires, .lastApprovalRequest, .lastEnabled: .init(rawValue, "s")
        case .lastCheckerStatus: .init(rawValue, "n")
        case .created, .fingerprint, .keyID, .name: .init(rawValue, "s", .read, .never)
        case .objectPath: .init(rawValue, "o", .read, .never, isDeprecated: true)
        case .secret: .init(rawValue, "ay", .write, .toldWithoutValue)
        }
    }

    /// All but the secret, which goes in only.
    public static let readable = allCases.filter { $0.property.access != .write }
}

/// What there is to know of the server.
public enum ServerProperty: String, CaseIterable, Sendable {
    case version = "Version"
    case address = "Address"
    case port = "Port"
    case interface = "Interface"
    case logLevels = "LogLevels"
    case secretsSent = "SecretsSent"
    case refusals = "Refusals"
    case clients = "Clients"

    public var property: Interface.Property {
        switch self {
        case .version, .address, .interface: .init(rawValue, "s", .read, .never)
        case .port: .init(rawValue, "u", .read, .never)
        case .logLevels: .init(rawValue, "s", .readWrite, .untold)
        case .secretsSent: .init(rawValue, "t", .read, .untold)
        // By reason, and by state.
        case .refusals, .clients: .init(rawValue, "a{st}", .read, .untold)
        }
    }
}
