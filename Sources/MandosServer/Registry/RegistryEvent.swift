public import MandosCore
public import MandosFormats

/// An event about clients, for the subscriber that informs operators.
public enum RegistryEvent: Sendable {
    case added(ClientSnapshot)
    case removed(name: String, path: String)
    case changed(from: ClientSnapshot, to: ClientSnapshot, at: Moment)
    case checkerStarted(path: String, command: String)
    case checkerEnded(path: String, command: String, TerminationStatus)
    case secretSent(path: String)
    case secretRefused(path: String, Refusal)
    /// An operator may answer the request within this time; after it, the default applies.
    case approvalNeeded(path: String, within: TimeSpan, approvedByDefault: Bool, address: String)
    case unknownKey(KeyID?, address: String)
}

/// A client as it was at one moment.
public struct ClientSnapshot: Equatable, Sendable {
    public let client: Client
    /// When the client will be disabled if there is no sign of life, in wall time; nil if it is disabled.
    public let expires: Timestamp?
    /// Whether a request of the client waits for approval.
    public let isApprovalPending: Bool
    /// The client's object path on D-Bus.
    public let path: String
}

/// Numbers of requests answered since the start, by answer.
public struct RequestCounts: Equatable, Sendable {
    public internal(set) var secretsSent = 0
    public internal(set) var refusals: [Refusal: Int] = [:]
}
