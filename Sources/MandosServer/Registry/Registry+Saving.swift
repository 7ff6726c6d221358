import Logging
import MandosCore
import MandosFormats

/// What is saved, and when.
extension Registry {
    /// What only gives time is saved within this span: if a crash loses it, a client gets less time, not more.
    static let saveDelay = TimeSpan.seconds(1)

    /// Changes a client in a way that may wait for ``saveDelay`` to be saved.
    func change(_ name: String, _ body: (inout Client) -> Void) {
        guard var client = roster[name]?.client else { return }
        let before = client
        body(&client)
        guard client != before else { return }
        put(client, name)
        unsaved.insert(name)
        if nextSave == nil {
            nextSave = bootTime + Self.saveDelay
            wakeUp.signal()
        }
    }

    /// Saves a client that is to be as `client` is, before anything else happens.
    func save(_ client: Client, at now: Moment) throws(StateStoreError) {
        try environment.store.commit(records([client], at: now), removing: [])
    }

    /// Saves clients from which a right is taken. If that fails, it is tried again.
    func saveLossOfRights(_ clients: [Client], at now: Moment) throws(StateStoreError) {
        let names = clients.map(\.settings.name)
        do throws(StateStoreError) {
            try environment.store.commit(records(clients, at: now), removing: [])
            unsaved.subtract(names)
        } catch {
            saveLater(names, because: error)
            throw error
        }
    }

    /// Saves everything that is not saved yet.
    func saveUnsaved() {
        nextSave = nil
        let names = unsaved
        unsaved = []
        let clients = names.compactMap { roster[$0]?.client }
        if clients.isEmpty { return }
        do throws(StateStoreError) {
            try environment.store.commit(records(clients, at: environment.now()), removing: [])
        } catch {
            saveLater(names, because: error)
        }
    }

    private func records(_ clients: [Client], at now: Moment) -> [ClientRecord] {
        let circumstances = environment.circumstances(at: now)
        return clients.compactMap { client in
            roster[client.settings.name]?.record(of: client, circumstances)
        }
    }

    private func saveLater(_ names: some Sequence<String>, because error: StateStoreError) {
        environment.log[.state].error("state not saved; trying again", metadata: ["reason": "\(error)"])
        unsaved.formUnion(names)
        nextSave = bootTime + Self.saveDelay
        wakeUp.signal()
    }
}
