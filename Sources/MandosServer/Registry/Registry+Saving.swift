import DequeModule
import Logging
import MandosCore
import MandosFormats

/// Saving clients: memory decides, and the disk follows.
///
/// What takes rights away takes effect at once, and is acknowledged when it is on the disk; what gives rights takes effect
/// when it is on the disk. Those who save take turns. Nobody else waits for the disk: neither requests, nor checks, nor the
/// watchdog.
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
        saveLater([name], within: Self.saveDelay)
    }

    /// Has the clients saved within `delay`.
    func saveLater(_ names: some Sequence<String>, within delay: TimeSpan) {
        unsaved.formUnion(names)
        // A save that waits for its turn includes them.
        if isSaveWaiting { return }
        let due = bootTime + delay
        if let nextSave, nextSave <= due { return }
        nextSave = due
        wakeUp.signal()
    }

    // MARK: Turns

    /// Waits until nobody else saves. Only who has the turn may give rights, or change which clients there are.
    func takeTurn() async {
        if hasTurnBeenTaken {
            await withCheckedContinuation { waitingForTurn.append($0) }
        } else {
            hasTurnBeenTaken = true
        }
    }

    func passTurn() {
        if let next = waitingForTurn.popFirst() { next.resume() } else { hasTurnBeenTaken = false }
    }

    // MARK: Commits

    /// Whether it is time for the caller to call ``saveUnsaved()``.
    func takeDueSave() -> Bool {
        guard let nextSave, nextSave <= bootTime else { return false }
        self.nextSave = nil
        isSaveWaiting = true
        return true
    }

    /// Saves all clients with unsaved changes. If that fails, it is tried again.
    func saveUnsaved() async {
        await takeTurn()
        isSaveWaiting = false
        defer { passTurn() }
        // It is logged, and tried again.
        try? await commitUnsaved()
    }

    /// How long the end of the server waits for the disk: less than systemd does for the server (`TimeoutStopSec=` in
    /// mandos.service).
    private static let patienceAtTheEnd = Duration.seconds(5)

    /// Saves all clients with unsaved changes, unless the disk hangs.
    func saveAtTheEnd() async {
        let isSaved = await withTaskGroup(of: Bool.self) { group in
            group.addTask { (try? await abandonable { await self.saveUnsaved() }) != nil }
            group.addTask {
                try? await Task.sleep(for: Self.patienceAtTheEnd)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
        if !isSaved { environment.log[.state].error("the disk hangs; the last changes of clients are not saved") }
    }

    /// Saves what is unsaved, by who has the turn; durable when it returns.
    ///
    /// - Throws: ``Failure/notSavedYet(_:)``; saving is tried again.
    func commitUnsaved() async throws(Failure) {
        do throws(StateStoreError) {
            try await writeUnsaved()
        } catch {
            throw .notSavedYet(error)
        }
    }

    private func writeUnsaved() async throws(StateStoreError) {
        let names = unsaved
        if names.isEmpty && savingProblem == nil { return }
        unsaved = []
        // Those that are disabled while this is being saved are told about when that is saved.
        let reasons = names.compactMap { name in untoldReasons.removeValue(forKey: name).map { (name, $0) } }
        // When it is saved, or the log says that it is not.
        defer { for (name, reason) in reasons { logDisabled(name, reason) } }
        let circumstances = environment.circumstances(at: environment.now())
        var records: [ClientRecord] = []
        var gone: [String] = []
        for name in names {
            if let record = roster.record(name, circumstances) { records.append(record) } else { gone.append(name) }
        }
        do throws(StateStoreError) {
            try await write(records, removing: gone)
        } catch {
            environment.log[.state].error("state not saved; trying again", metadata: ["reason": "\(error)"])
            saveLater(names, within: nextPause())
            throw error
        }
    }

    private func write(_ records: [ClientRecord], removing names: [String]) async throws(StateStoreError) {
        do throws(StateStoreError) {
            savingProblem = try await writer.commit(records, removing: names)
        } catch {
            savingProblem = error
            throw error
        }
        guard let savingProblem else { return savePauses.reset() }
        environment.log[.state].error(
            "state saved, but what was given to clients may be lost in a restart; trying again",
            metadata: ["reason": "\(savingProblem)"])
        saveLater([], within: nextPause())
    }

    private func nextPause() -> TimeSpan {
        TimeSpan(milliseconds: savePauses.next() ?? Self.saveDelay.milliseconds)
    }

    /// What only an operator can mend, for operators who ask; empty if there is nothing.
    var problems: [String] {
        savingProblem.map { ["the latest changes of clients are not saved for certain; trying again: \($0)"] } ?? []
    }

    /// Saves a client's new value `client`, before it takes effect.
    func save(_ client: Client, at now: Moment) async throws(Failure) {
        let record = roster[client.settings.name]?.record(of: client, environment.circumstances(at: now))
        try await commit(record.map { [$0] } ?? [])
    }

    /// Saves for an operator's request.
    func commit(_ records: [ClientRecord], removing names: [String] = []) async throws(Failure) {
        do throws(StateStoreError) {
            // What failed is perhaps on the disk all the same: nothing counts before what is true is there instead.
            if savingProblem != nil { try await writeUnsaved() }
        } catch {
            throw .notSaved(error)
        }
        do throws(StateStoreError) {
            try await write(records, removing: names)
        } catch {
            saveLater(records.map(\.name) + names, within: .zero)
            throw .notSaved(error)
        }
    }
}
