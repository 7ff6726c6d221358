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
    /// - Throws: ``Failure``; then nothing has changed.
    public func reload(
        _ configured: [ClientSettings], defaults: [ConfigFile.Section] = []
    ) throws(Failure) -> ReloadSummary {
        let plan = roster.plan(configured, defaults: defaults, environment.circumstances(at: environment.now()))
        if let misfit = plan.misfits.first { throw .badSection(misfit.problems) }
        try saving { () throws(StateStoreError) in
            try environment.store.commit(plan.records, removing: plan.forgotten)
        }
        let added = plan.entries.count { roster[$0.name] == nil }
        let formers = plan.entries.map { former($0.name) }
        for name in plan.leaving { announceRemoval(name, reason: "it is not in the configuration files any more") }
        roster.adopt(plan)
        self.defaults = defaults
        for (entry, former) in zip(plan.entries, formers) { announce(entry, in: former) }
        logNotices(plan.notices)
        wakeUp.signal()
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
        deadlines.set(entry.client.nextDeadline, for: name)
        if entry.client.status == .disabled {
            environment.checkers.kill(name)
            if let old = former.entry, old.client.status != .disabled { logDisabled(name, "clients.conf says so") }
        }
        if former.entry == nil {
            if let snapshot = subscribedSnapshot(name) { subscriber?(.added(snapshot)) }
        } else {
            publishChange(from: former.snapshot, name)
        }
        wakeWaiters(of: former.entry?.configured.keyID)
        wakeWaiters(of: entry.configured.keyID)
    }

    /// Updates everything that depends on a client, before it leaves the roster.
    func announceRemoval(_ name: String, reason: String) {
        publish(about: name) { .removed(name: name, path: $0) }
        unsaved.remove(name)
        deadlines.set(nil, for: name)
        environment.checkers.kill(name)
        wakeWaiters(of: roster[name]?.configured.keyID)
        paths.remove(name)
        environment.log[.client].warning(
            "client removed", metadata: ["client.name": "\(name)", "reason": "\(reason)"])
    }

    /// Runs `body`, which saves, for an operator's request.
    func saving(_ body: () throws(StateStoreError) -> Void) throws(Failure) {
        do throws(StateStoreError) {
            try body()
        } catch {
            throw .notSaved(error)
        }
    }
}
