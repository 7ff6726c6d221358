public import MandosCore

/// Where the state of the clients outlives the server.
public protocol StateStore: Sendable {
    /// Everything that was saved.
    func load() throws(StateStoreError) -> [ClientRecord]

    /// Saves; what it is given is durable when it returns.
    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError)
}

/// What is wrong with the saved state, and what to do about it.
public struct StateStoreError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
