public import MandosCore

/// Storage for the state of the clients that outlives the server.
public protocol StateStore: Sendable {
    /// Reads everything that was saved.
    func load() throws(StateStoreError) -> [ClientRecord]

    /// Saves `records` and deletes those of `names`; durable when it returns.
    ///
    /// If it throws, it is not known whether that was saved. A restart then takes over what it took from clients, or not, but
    /// never what it gave them. Before anything else is saved, the same names have to be saved again as they are then.
    ///
    /// It waits for the disk. Called by one thread at a time.
    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError)

    /// Makes sure that what the last commit gave to clients counts after a restart; it does unless this throws.
    func confirm() throws(StateStoreError)
}

extension StateStore {
    public func confirm() throws(StateStoreError) {}
}
