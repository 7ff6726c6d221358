public import MandosCore

/// Storage for the state of the clients that outlives the server.
public protocol StateStore: Sendable {
    /// Reads everything that was saved.
    func load() throws(StateStoreError) -> [ClientRecord]

    /// Saves `records` and deletes those of `names`; durable when it returns, and undone if it throws.
    ///
    /// It waits for the disk. Called by one thread at a time.
    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError)
}
