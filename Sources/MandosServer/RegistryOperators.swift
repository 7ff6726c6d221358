import Logging
public import MandosCore
import MandosFormats

/// What operators do, and the configuration files that they write.
extension Registry {
    /// What a reload came to, in numbers of clients.
    public struct ReloadSummary: Equatable, Sendable {
        public var added = 0
        public var changed = 0
        public var removed = 0
    }

    /// Takes over a configuration that was read again, by the same merge as at a restart. Durable when it returns.
    ///
    /// - Throws: if it could not be saved; then nothing has changed.
    public func reload(_ settings: [ClientSettings]) throws(StateStoreError) -> ReloadSummary {
        let now = environment.now()
        var summary = ReloadSummary()
        var changed: [Entry] = []
        var removed = Set(entries.keys)
        var leftOut: Set<String> = []
        for new in settings {
            if self.removed.contains(new.name) {
                leftOut.insert(new.name)
                continue
            }
            let untilFirstCheck = environment.part(new.interval)
            guard let entry = entries[new.name] else {
                changed.append(Entry(Client(new, untilFirstCheck: untilFirstCheck, at: now), configured: new))
                summary.added += 1
                continue
            }
            removed.remove(new.name)
            guard entry.configured != new else { continue }
            var client = entry.client
            client.reconfigure(from: entry.configured, to: new, untilFirstCheck: untilFirstCheck, at: now)
            changed.append(Entry(client, configured: new))
            summary.changed += 1
        }
        summary.removed = removed.count
        try environment.store.commit(
            changed.map { $0.client.record(configured: $0.configured, bootID: environment.bootID, at: now) },
            removing: Array(removed.union(self.removed.subtracting(leftOut))))
        self.removed = leftOut
        for name in leftOut { logStillConfigured(name) }
        for name in removed {
            forget(name)
            environment.log[.checker].warning("client removed", metadata: ["client.name": "\(name)"])
        }
        for entry in changed { adopt(entry) }
        // Only now: a key may have gone from one client to another.
        for entry in changed { if let keyID = entry.configured.keyID { nameOfKey[keyID] = entry.configured.name } }
        alarm.ring()
        return summary
    }

    private func forget(_ name: String) {
        if let keyID = entries[name]?.configured.keyID { nameOfKey[keyID] = nil }
        tell(of: name) { .removed(name: name, path: $0) }
        entries[name] = nil
        sortedNames = nil
        unsaved.remove(name)
        deadlines.set(nil, for: name)
        environment.checkers.kill(name)
        wakeWatchers(of: name)
        paths.remove(name)
    }

    private func adopt(_ new: Entry) {
        let client = new.client
        let name = client.settings.name
        let old = entries[name]
        let before = observedSnapshot(name)
        let wasEnabled = old.map { $0.client.status != .disabled } ?? false
        if let keyID = old?.configured.keyID { nameOfKey[keyID] = nil }
        entries[name] = new
        if old == nil { sortedNames = nil }
        unsaved.remove(name)
        deadlines.set(client.nextDeadline, for: name)
        if client.status == .disabled {
            environment.checkers.kill(name)
            if wasEnabled { logDisabled(name, "clients.conf says so") }
        }
        tellOfChange(from: before, name)
        if old == nil, let snapshot = observedSnapshot(name) { observer?(.added(snapshot)) }
        wakeWatchers(of: name)
    }

    /// Approves or denies the requests of a client that wait now or come within its `approval_duration`.
    public func answerRequests(of name: String, approved: Bool) {
        guard var client = entries[name]?.client else { return }
        client.answer(approved: approved, at: bootTime)
        put(client, name)
    }

    /// Takes a client's rights away; durable when it returns.
    ///
    /// - Throws: if it could not be saved. The client is disabled all the same, until the server restarts.
    public func disable(_ name: String) throws(StateStoreError) {
        guard var client = entries[name]?.client, client.status != .disabled || unsaved.contains(name) else { return }
        client.disable()
        environment.checkers.kill(name)
        put(client, name)
        logDisabled(name, "an operator did")
        let now = environment.now()
        do throws(StateStoreError) {
            try environment.store.commit([record(of: client, at: now)], removing: [])
            unsaved.remove(name)
        } catch {
            unsaved.insert(name)
            nextSave = now.boot + Self.saveDelay
            alarm.ring()
            throw error
        }
    }

    /// Gives a client a new life, which begins with a check; saved when it returns.
    public func enable(_ name: String) throws(StateStoreError) {
        guard var client = entries[name]?.client, client.status == .disabled else { return }
        let now = environment.now()
        client.enable(untilFirstCheck: .zero, at: now)
        try environment.store.commit([record(of: client, at: now)], removing: [])
        put(client, name)
        environment.log[.checker].notice(
            "client enabled", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        alarm.ring()
    }

    /// Removes a client; durable when it returns. It stays away even while the configuration files have it.
    ///
    /// - Throws: if it could not be saved; then it is still there, but disabled.
    public func remove(_ name: String) throws(StateStoreError) {
        guard let client = entries[name]?.client else { return }
        try disable(name)
        var record = record(of: client, at: environment.now())
        record.isRemoved = true
        try environment.store.commit([record], removing: [])
        removed.insert(name)
        forget(name)
        environment.log[.checker].warning(
            "client removed", metadata: ["client.name": "\(name)", "reason": "an operator did"])
    }

    /// Why an operator's wish was not fulfilled.
    public enum Failure: Error, CustomStringConvertible {
        case refused(SettingChange.Refusal)
        case notSaved(StateStoreError)

        public var description: String {
            switch self {
            case .refused(let refusal): refusal.description
            case .notSaved(let error): error.description
            }
        }
    }

    /// Changes a setting; saved when it returns, and nothing has changed if it throws.
    public func change(_ change: SettingChange, of name: String) throws(Failure) {
        guard var client = entries[name]?.client else { return }
        let now = environment.now()
        do throws(SettingChange.Refusal) {
            client.change(try change.applied(to: client.settings), at: now.boot)
        } catch {
            throw .refused(error)
        }
        // As the reference does it.
        if case .interval = change { client.requestCheck(at: now.boot) }
        do throws(StateStoreError) {
            try environment.store.commit([record(of: client, at: now)], removing: [])
        } catch {
            throw .notSaved(error)
        }
        put(client, name)
        alarm.ring()
    }

    /// Has a client checked now.
    public func startChecker(of name: String) {
        change(name) { $0.requestCheck(at: bootTime) }
        alarm.ring()
    }

    /// Ends a client's checker; what it would have found counts as nothing.
    public func stopChecker(of name: String) {
        change(name) { $0.abandonCheck(at: bootTime) }
        environment.checkers.kill(name)
    }

    /// Somebody knows that a client is alive.
    public func wasSeen(_ name: String) { change(name) { $0.wasSeen(at: environment.now()) } }

    /// How many clients there are.
    public var count: Int { entries.count }

    /// A client as it is now.
    public func client(named name: String) -> Client? { entries[name]?.client }
}
