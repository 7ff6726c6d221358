import Logging
import MandosCore
import MandosFormats

/// Saving clients.
extension Registry {
    /// Changes that take no right away are saved within this span: losing one in a crash gives a client no more time.
    static let saveDelay = TimeSpan.seconds(1)

    /// Changes a client; the change is saved within ``saveDelay``.
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

    /// Saves a client's new value `client`, before it takes effect.
    func save(_ client: Client, at now: Moment) throws(StateStoreError) {
        try environment.store.commit(records([client], at: now), removing: [])
    }

    /// Saves clients that lose a right. If that fails, it is tried again.
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

    /// Saves all clients with unsaved changes.
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
