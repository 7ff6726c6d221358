public import MandosCore

/// Storage for the state of the clients that outlives the server.
public protocol StateStore: Sendable {
    /// Reads everything that was saved.
    func load() throws(StateStoreError) -> [ClientRecord]

    /// Saves `records` and deletes those of `names`; durable when it returns.
    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError)
}

/// A problem with the saved state, with advice.
public struct StateStoreError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
