public import MandosFormats

/// Saved records of clients that are not served, and that must not come back with more rights than they had.
public struct AbsentClients: Equatable, Sendable {
    /// Clients that an operator removed although the configuration files still have them, by name.
    public internal(set) var removed: [String: ClientRecord] = [:]
    /// Clients that were disabled when they left the configuration files, by name.
    public internal(set) var departed: [String: ClientRecord] = [:]
    /// Clients that an operator added and that do not fit beside the configuration files, by name.
    public internal(set) var leftOut: [String: ClientRecord] = [:]

    /// A client that was disabled or removed, and had this key.
    public subscript(keyID: KeyID) -> ClientRecord? {
        departed.values.first { $0.keyID == keyID } ?? removed.values.first { $0.keyID == keyID }
            ?? leftOut.values.first { $0.keyID == keyID && $0.until == nil }
    }

    /// The record that would be lost if a client of this name were saved.
    public subscript(name: String) -> ClientRecord? { departed[name] ?? leftOut[name] }

    /// Disables clients that are left out and have this key; tells their names.
    mutating func disableLeftOut(_ keyID: KeyID) -> [String] {
        let names = leftOut.values.filter { $0.keyID == keyID && $0.until != nil }.map(\.name)
        for name in names { leftOut[name]?.disableForGood() }
        return names
    }

    mutating func forget(_ name: String) {
        departed[name] = nil
        leftOut[name] = nil
    }
}
