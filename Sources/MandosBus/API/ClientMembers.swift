public enum ClientMethod: String, BusMethod, DeclaredMember {
    case approve = "Approve"
    case checkedOK = "CheckedOK"
    case enable = "Enable"
    case disable = "Disable"
    case startChecker = "StartChecker"
    case stopChecker = "StopChecker"

    public static let declaredIn = Interface.client

    public var declaration: Interface.Method {
        switch self {
        case .approve: .init(rawValue, takes: [.init("value", "b")])
        case .checkedOK: .init(rawValue)
        case .enable, .disable, .startChecker, .stopChecker: .init(rawValue, isDeprecated: true)
        }
    }
}

public enum ClientSignal: String, BusSignalName, DeclaredMember {
    case checkerCompleted = "CheckerCompleted"
    case checkerStarted = "CheckerStarted"
    case gotSecret = "GotSecret"
    case needApproval = "NeedApproval"
    case rejected = "Rejected"
    case propertyChanged = "PropertyChanged"

    public static let declaredIn = Interface.client

    public var declaration: Interface.Signal {
        switch self {
        case .checkerCompleted:
            .init(rawValue, [.init("exitcode", "n"), .init("waitstatus", "x"), .init("command", "s")])
        case .checkerStarted: .init(rawValue, [.init("command", "s")])
        case .gotSecret: .init(rawValue)
        case .needApproval: .init(rawValue, [.init("timeout", "t"), .init("default", "b")])
        case .rejected: .init(rawValue, [.init("reason", "s")])
        case .propertyChanged: .init(rawValue, [.init("property", "s"), .init("value", "v")], isDeprecated: true)
        }
    }
}

/// The properties of a client.
public enum ClientProperty: String, DeclaredMember {
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

    public static let declaredIn = Interface.client

    /// Durations are in milliseconds; points in time are RFC 3339 texts, or empty.
    public var declaration: Interface.Property {
        switch self {
        case .approvalDelay, .approvalDuration, .extendedTimeout, .interval, .timeout:
            .init(rawValue, "t", .readWrite)
        case .approvedByDefault, .checkerRunning, .enabled: .init(rawValue, "b", .readWrite)
        case .checker, .host, .lastCheckedOK: .init(rawValue, "s", .readWrite)
        case .approvalPending: .init(rawValue, "b")
        case .expires, .lastApprovalRequest, .lastEnabled: .init(rawValue, "s")
        case .lastCheckerStatus: .init(rawValue, "n")
        case .created, .fingerprint, .keyID, .name: .init(rawValue, "s", .read, .constant)
        case .objectPath: .init(rawValue, "o", .read, .constant, isDeprecated: true)
        case .secret: .init(rawValue, "ay", .write, .withoutValue)
        }
    }
}
