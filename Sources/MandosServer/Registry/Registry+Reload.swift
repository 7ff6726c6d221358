import Logging
public import MandosCore
public import MandosFormats

/// Applying a configuration that was read again.
extension Registry {
    /// Numbers of clients that a reload changed.
    public struct ReloadSummary: Equatable, Sendable {
        public var added = 0
        public var changed = 0
        public var removed = 0
    }

    /// Applies a configuration with the same merge as at a restart. Durable when it returns.
    ///
    /// - Throws: ``Failure``; then nothing has changed, or, with ``Failure/notSavedYet(_:)``, all has.
    public func reload(
        _ configured: [ClientSettings], defaults: [ConfigFile.Section] = []
    ) async throws(Failure) -> ReloadSummary {
        await takeTurn()
        defer { passTurn() }
        var plan = plan(configured, defaults)
        if let misfit = plan.misfits.first { throw .badSection(misfit.problems) }
        changedMeanwhile = []
        defer { changedMeanwhile = nil }
        try await commit(plan.records, removing: plan.forgotten)
        let isOutdated = hasChangedMeanwhile(plan)
        if isOutdated { plan = self.plan(configured, defaults) }
        let summary = carryOut(plan)
        self.defaults = defaults
        // Whoever is disabling a client waits for the next turn to save that.
        for keyID in disabling.keys {
            if let entry = roster[keyID] { disableAtOnce(entry.name, because: "an operator did") }
        }
        await waitForCuts()
        wakeUp.signal()
        if isOutdated {
            saveLater(plan.records.map(\.name) + plan.forgotten, within: .zero)
            try await commitUnsaved()
        }
        return summary
    }

    private func plan(_ configured: [ClientSettings], _ defaults: [ConfigFile.Section]) -> RosterPlan {
        roster.plan(configured, defaults: defaults, environment.circumstances(at: environment.now()))
    }

    /// Whether a client that is in the plan has changed since the plan was made.
    private func hasChangedMeanwhile(_ plan: RosterPlan) -> Bool {
        guard let changed = changedMeanwhile, !changed.isEmpty else { return false }
        return plan.entries.contains { changed.contains($0.name) } || !changed.isDisjoint(with: plan.leaving)
    }

    private func carryOut(_ plan: RosterPlan) -> ReloadSummary {
        let added = plan.entries.count { roster[$0.name] == nil }
        let formers = plan.entries.map { former($0.name) }
        let leavingKeys = plan.leaving.map { roster[$0]?.configured.keyID }
        for name in plan.leaving { announceRemoval(name, reason: "it is not in the configuration files any more") }
        roster.adopt(plan)
        for (entry, former) in zip(plan.entries, formers) { announce(entry, in: former) }
        for keyID in leavingKeys { reconsider(keyID) }
        logNotices(plan.notices)
        return ReloadSummary(added: added, changed: plan.entries.count - added, removed: plan.leaving.count)
    }

    /// A client before it is replaced.
    struct Former {
        let entry: Roster.Entry?
        let snapshot: ClientSnapshot?
    }

    func former(_ name: String) -> Former { Former(entry: roster[name], snapshot: subscribedSnapshot(name)) }

    /// Updates everything that depends on a client that is new in the roster, or has replaced `former`.
    func announce(_ entry: Roster.Entry, in former: Former) {
        let name = entry.name
        unsaved.remove(name)
        tellReason(name)
        setDeadline(of: entry.client, name)
        if entry.client.status == .disabled {
            environment.checkers.kill(name)
            if let old = former.entry, old.client.status != .disabled { logDisabled(name, "clients.conf says so") }
        }
        if former.entry == nil {
            if let snapshot = subscribedSnapshot(name) { subscriber?(.added(snapshot)) }
        } else {
            publishChange(from: former.snapshot, name)
        }
        reconsider(former.entry?.configured.keyID)
        reconsider(entry.configured.keyID)
    }

    /// Updates everything that depends on a client, before it leaves the roster; whoever does that reconsiders its requests
    /// after it.
    func announceRemoval(_ name: String, reason: String) {
        publish(about: name) { .removed(name: name, path: $0) }
        unsaved.remove(name)
        tellReason(name)
        deadlines.set(nil, for: name)
        environment.checkers.kill(name)
        paths.remove(name)
        environment.log[.client].warning(
            "client removed", metadata: ["client.name": "\(name)", "reason": "\(reason)"])
    }
}
