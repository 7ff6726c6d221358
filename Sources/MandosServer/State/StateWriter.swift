import MandosBus
import MandosCore

/// Saves on a thread of its own: only those who wait for a commit wait for the disk.
actor StateWriter {
    private let executor = DispatchExecutor(label: "mandos.state")
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private let store: any StateStore

    init(_ store: any StateStore) { self.store = store }

    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        try store.commit(records, removing: names)
    }
}
