import Logging
public import MandosCore
public import MandosFormats

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
    /// - Throws: ``Failure``; then nothing has changed.
    public func reload(
        _ settings: [ClientSettings], defaults: [ConfigFile.Section] = []
    ) throws(Failure) -> ReloadSummary {
        let added = AddedClients(
            entries.values.compactMap { entry in entry.section.map { (entry.configured.name, $0) } }, beside: settings,
            defaults: defaults)
        if let misfit = added.misfits.first { throw .badSection(misfit.problems) }
        let now = environment.now()
        let settings = added.clients.isEmpty ? settings : settings + added.clients
        let names = Set(settings.lazy.map(\.name))
        let leaving = entries.filter { !names.contains($0.key) }
        var dormant = self.dormant
        for (name, entry) in leaving where entry.client.status == .disabled {
            dormant[name] = entry.record(bootID: environment.bootID, at: now)
        }
        let former = FormerClients(Array(dormant.values) + removed.values)
        var summary = ReloadSummary(removed: leaving.count)
        var changed: [Entry] = []
        for new in settings where removed[new.name] == nil {
            let firstCheckDelay = environment.jitter(new.interval)
            let section = added.sections[new.name]
            if let entry = entries[new.name] {
                guard entry.configured != new || entry.section != section else { continue }
                var client = entry.client
                client.reconfigure(from: entry.configured, to: new, firstCheckDelay: firstCheckDelay, at: now)
                changed.append(Entry(client, configured: new, section: section))
                summary.changed += 1
                continue
            }
            let client: Client
            if let record = former.record(of: new) {
                client = Client.restored(
                    new, from: record, firstCheckDelay: firstCheckDelay, bootID: environment.bootID, at: now)
                dormant[record.name] = nil
            } else {
                client = Client(new, firstCheckDelay: firstCheckDelay, at: now)
            }
            changed.append(Entry(client, configured: new, section: section))
            summary.added += 1
        }
        let stillRemoved = removed.filter { names.contains($0.key) }
        let records = changed.map { $0.record(bootID: environment.bootID, at: now) } + dormant.values
        let kept = Set(records.lazy.map(\.name))
        let forgotten = Set(leaving.keys).union(self.dormant.keys).union(removed.keys)
            .filter { !kept.contains($0) && stillRemoved[$0] == nil }
        do throws(StateStoreError) {
            try environment.store.commit(records, removing: Array(forgotten))
        } catch {
            throw .notSaved(error)
        }
        self.dormant = dormant
        removed = stillRemoved
        self.defaults = defaults
        for name in stillRemoved.keys { logStillConfigured(name) }
        for name in leaving.keys {
            forget(name)
            environment.log[.checker].warning("client removed", metadata: ["client.name": "\(name)"])
        }
        for entry in changed {
            if entries[entry.configured.name] == nil, former.record(of: entry.configured) != nil {
                logStillDisabled(entry.configured.name)
            }
            adopt(entry)
        }
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
    ///
    /// A denial is durable when it returns.
    /// - Throws: if it could not be saved. It holds all the same, until the server restarts.
    public func answerRequests(of name: String, approved: Bool) throws(StateStoreError) {
        guard var client = entries[name]?.client else { return }
        let now = environment.now()
        client.answer(approved: approved, at: now.boot)
        put(client, name)
        if !approved { try saveNow(client, at: now) }
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
        try saveNow(client, at: environment.now())
    }

    /// Saves what takes a right away; if it cannot be saved now, it is tried again, and whoever wanted it is told.
    private func saveNow(_ client: Client, at now: Moment) throws(StateStoreError) {
        let name = client.settings.name
        do throws(StateStoreError) {
            try environment.store.commit([record(of: client, at: now)], removing: [])
            unsaved.remove(name)
        } catch {
            saveLater([name], because: error)
            throw error
        }
    }

    /// Gives a client a new life, which begins with a check; saved when it returns.
    public func enable(_ name: String) throws(StateStoreError) {
        guard var client = entries[name]?.client, client.status == .disabled else { return }
        let now = environment.now()
        client.enable(firstCheckDelay: .zero, at: now)
        try environment.store.commit([record(of: client, at: now)], removing: [])
        put(client, name)
        environment.log[.checker].notice(
            "client enabled", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        alarm.ring()
    }

    /// Adds a client, from a section as clients.conf has it; it is kept with the state. Durable when it returns.
    ///
    /// - Returns: where it is on D-Bus.
    /// - Throws: ``Failure``; then nothing has changed.
    public func add(_ section: String) throws(Failure) -> String {
        let settings: ClientSettings
        do throws(ConfigProblems) {
            settings = try AddedClient.read(section, defaults: defaults)
        } catch {
            throw .badSection(error)
        }
        let name = settings.name
        func refuse(_ message: String) -> Failure {
            .badSection(ConfigProblems(problems: [ConfigProblem(path: "[\(name)]", message: message)]))
        }
        if entries[name] != nil { throw refuse("there is a client of that name; remove it first, or change it") }
        if removed[name] != nil {
            throw refuse(
                "clients.conf still has a client of that name, which was removed; delete that section, and reload")
        }
        if let keyID = settings.keyID, let other = nameOfKey[keyID] {
            throw refuse("[\(other)] has the same key ID; every client needs a key of its own")
        }
        let now = environment.now()
        let entry = Entry(Client(settings, firstCheckDelay: .zero, at: now), configured: settings, section: section)
        do throws(StateStoreError) {
            try environment.store.commit([entry.record(bootID: environment.bootID, at: now)], removing: [])
        } catch {
            throw .notSaved(error)
        }
        dormant[name] = nil
        adopt(entry)
        if let keyID = settings.keyID { nameOfKey[keyID] = name }
        environment.log[.checker].notice(
            "client added", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        alarm.ring()
        return paths.add(name)
    }

    /// Removes a client; durable when it returns. It stays away even while the configuration files have it.
    ///
    /// - Throws: if it could not be saved; then it is still there, but disabled.
    public func remove(_ name: String) throws(StateStoreError) {
        try disable(name)
        guard let entry = entries[name] else { return }
        if entry.section != nil {
            try environment.store.commit([], removing: [name])
        } else {
            var record = entry.record(bootID: environment.bootID, at: environment.now())
            record.isRemoved = true
            try environment.store.commit([record], removing: [])
            removed[name] = record
        }
        forget(name)
        environment.log[.checker].warning(
            "client removed", metadata: ["client.name": "\(name)", "reason": "an operator did"])
    }

    /// Why an operator's wish was not fulfilled.
    public enum Failure: Error, CustomStringConvertible {
        case refused(SettingChange.Refusal)
        case badSection(ConfigProblems)
        case notSaved(StateStoreError)

        public var description: String {
            switch self {
            case .refused(let refusal): refusal.description
            case .badSection(let problems): problems.problems.map(\.description).joined(separator: "\n")
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
}
