import MandosBus
import MandosCore

/// Saves on a thread of its own: only those who wait for a commit wait for the disk.
actor StateWriter {
    private let executor = DispatchExecutor(label: "mandos.state")
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private let store: any StateStore

    init(_ store: any StateStore) { self.store = store }

    /// - Returns: why a restart may not take over what this gave to clients; nil if it does.
    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) -> StateStoreError? {
        try store.commit(records, removing: names)
        do throws(StateStoreError) {
            try store.confirm()
            return nil
        } catch {
            return error
        }
    }
}
