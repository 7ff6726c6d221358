/// Saved records of clients that are not served, and that must not come back with more rights than they had.
public struct AbsentClients: Equatable, Sendable {
    /// Clients that an operator removed although the configuration files still have them, by name.
    public internal(set) var removed: [String: ClientRecord] = [:]
    /// Clients that were disabled when they left the configuration files, by name.
    public internal(set) var departed: [String: ClientRecord] = [:]
}
