public import MandosCore
public import MandosFormats

/// Something that happened to the clients, for whoever wants to tell operators.
public enum RegistryEvent: Sendable {
    case added(ClientSnapshot)
    case removed(name: String, path: String)
    /// What is known of a client has changed.
    case changed(from: ClientSnapshot, to: ClientSnapshot, at: Moment)
    case checkerStarted(path: String, command: String)
    case checkerEnded(path: String, command: String, TerminationStatus)
    case secretSent(path: String)
    case secretRefused(path: String, Refusal)
    /// Within this time somebody may answer the request, else the default counts.
    case approvalNeeded(path: String, within: TimeSpan, approvedByDefault: Bool, address: String)
    case unknownKey(KeyID?, address: String)
}

/// A client as it was at one moment, and what it did then.
public struct ClientSnapshot: Equatable, Sendable {
    public let client: Client
    /// Whether a request of it waits for approval.
    public let isApprovalPending: Bool
    /// Where on D-Bus it is.
    public let path: String
}

/// How often what happened to requests since the start.
public struct RequestCounts: Equatable, Sendable {
    public internal(set) var secretsSent = 0
    public internal(set) var refusals: [Refusal: Int] = [:]
}
