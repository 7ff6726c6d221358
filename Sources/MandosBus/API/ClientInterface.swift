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
        case .approve: .init(name: rawValue, takes: ["value": "b"])
        case .checkedOK: .init(name: rawValue)
        case .enable, .disable, .startChecker, .stopChecker: .init(name: rawValue, isDeprecated: true)
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
            .init(name: rawValue, carries: ["exitcode": "n", "waitstatus": "x", "command": "s"])
        case .checkerStarted: .init(name: rawValue, carries: ["command": "s"])
        case .gotSecret: .init(name: rawValue)
        case .needApproval: .init(name: rawValue, carries: ["timeout": "t", "default": "b"])
        case .rejected: .init(name: rawValue, carries: ["reason": "s"])
        case .propertyChanged: .init(name: rawValue, carries: ["property": "s", "value": "v"], isDeprecated: true)
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
            .init(name: rawValue, type: "t", access: .readWrite)
        case .approvedByDefault, .checkerRunning, .enabled: .init(name: rawValue, type: "b", access: .readWrite)
        case .checker, .host, .lastCheckedOK: .init(name: rawValue, type: "s", access: .readWrite)
        case .approvalPending: .init(name: rawValue, type: "b")
        case .expires, .lastApprovalRequest, .lastEnabled: .init(name: rawValue, type: "s")
        case .lastCheckerStatus: .init(name: rawValue, type: "n")
        case .created, .fingerprint, .keyID, .name:
            .init(name: rawValue, type: "s", access: .read, changeSignal: .constant)
        case .objectPath: .init(name: rawValue, type: "o", access: .read, changeSignal: .constant, isDeprecated: true)
        case .secret: .init(name: rawValue, type: "ay", access: .write, changeSignal: .withoutValue)
        }
    }
}
