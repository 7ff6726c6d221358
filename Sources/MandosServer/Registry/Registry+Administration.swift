import Logging
public import MandosCore
import MandosFormats

/// Operators' requests.
extension Registry {
    /// Why an operator's request failed.
    public enum Failure: Error, CustomStringConvertible {
        case refused(SettingChange.Refusal)
        case badSection(ConfigProblems)
        case notSaved(StateStoreError)
        /// A right was taken away, and a restart may give it back.
        case notSavedYet(StateStoreError)
        /// Another operator disabled the client at the same time.
        case overtaken
        /// There are no clients of these names, or not any more.
        case unknown([String])

        public var description: String {
            switch self {
            case .refused(let refusal): refusal.description
            case .badSection(let problems): problems.problems.map(\.description).joined(separator: "\n")
            case .notSaved(let error):
                "\(error); this gives no client a right, now or after a restart, but whether the rest of it was saved is not"
                    + " known: try again when the disk is well"
            case .notSavedYet(let error):
                "it is in force, but could not be saved, and does not survive a restart until it is: \(error)"
            case .overtaken: "the client was disabled at the same time"
            case .unknown(let names): "there is no client \(names.joined(separator: ", "))"
            }
        }
    }

    /// Approves or denies the requests of a client that wait now, each for good, and those that come within its
    /// `approval_duration` from then.
    ///
    /// A denial is durable when it returns.
    /// - Throws: if it could not be saved. The answer holds nevertheless, until the server restarts.
    public func answerRequests(of name: String, approved: Bool) async throws(Failure) {
        guard let client = roster[name]?.client else { throw .unknown([name]) }
        let keyID = client.settings.keyID
        // However long saving takes, the requests that wait have their answer.
        settleWaiting(keyID, approved: approved)
        change(name) { $0.answer(approved: approved, at: bootTime) }
        if approved { return }
        await waitForCuts()
        await takeTurn()
        defer { passTurn() }
        // Meanwhile somebody else may have answered, the answer be out of date, or the client have another name.
        guard let present = keyID.flatMap({ roster[$0] })?.name ?? roster[name]?.name else {
            return try await commitUnsaved()
        }
        change(present) { $0.answer(approved: false, at: bootTime) }
        try await commitUnsaved()
        change(present) { $0.answer(approved: false, at: bootTime) }
    }

    /// Disables clients; durable when it returns.
    ///
    /// - Throws: if it could not be saved. The clients are disabled nevertheless, until the server restarts.
    public func disable(_ names: [String]) async throws(Failure) {
        let keys = names.compactMap { roster[$0]?.configured.keyID }
        let unknown = names.filter { roster[$0] == nil }
        try await disabling(names) { () async throws(Failure) in
            await takeTurn()
            defer { passTurn() }
            // A reload may have renamed them. What is hidden behind them loses its rights too.
            let hidden = roster.absent.leftOut.values.filter { $0.keyID.map(keys.contains) ?? false }.map(\.name)
            // Whoever had the turn before may have saved them.
            if unsaved.isDisjoint(with: names + keys.compactMap { roster[$0]?.name } + hidden) { return }
            try await commitUnsaved()
        }
        if !unknown.isEmpty { throw .unknown(unknown) }
    }

    /// Disables clients at once, and lets nobody enable them until `body` has saved that.
    private func disabling(_ names: [String], _ body: () async throws(Failure) -> Void) async throws(Failure) {
        let keys = names.compactMap { roster[$0]?.configured.keyID }
        for name in names { disableAtOnce(name, because: "an operator did") }
        for key in keys { disabling[key, default: 0] += 1 }
        defer {
            for key in keys { disabling[key] = disabling[key].flatMap { $0 == 1 ? nil : $0 - 1 } }
        }
        await waitForCuts()
        try await body()
    }

    /// Gives a client a new lease, which begins with a check; saved when it returns.
    ///
    /// - Throws: ``Failure``; then nothing has changed.
    public func enable(_ name: String) async throws(Failure) {
        await takeTurn()
        defer { passTurn() }
        let now = environment.now()
        guard var client = roster[name]?.client, !client.isEnabled(at: now.boot) else { return }
        func isBeingDisabled() -> Bool { client.settings.keyID.map { disabling[$0] != nil } ?? false }
        if isBeingDisabled() { throw .overtaken }
        client.enable(firstCheckDelay: .zero, at: now)
        try await save(client, at: now)
        // Then it was enabled, and is disabled again: whoever does that waits for the next turn to save it.
        if isBeingDisabled() { return saveLater([name], within: .zero) }
        change(name) { $0.enable(firstCheckDelay: .zero, at: environment.now()) }
        environment.log[.client].notice(
            "client enabled", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        wakeUp.signal()
    }

    /// Adds a client from a section in the format of clients.conf, saved with the state. Durable when it returns.
    ///
    /// A key that was disabled when it left the configuration files is still disabled.
    /// - Returns: the client's object path on D-Bus.
    /// - Throws: ``Failure``; then nothing has changed.
    public func add(_ section: String) async throws(Failure) -> String {
        await takeTurn()
        defer { passTurn() }
        let settings: ClientSettings
        do throws(ConfigProblems) {
            settings = try AddedClient.read(section, defaults: defaults)
            try checkIsNew(settings)
        } catch {
            throw .badSection(error)
        }
        let now = environment.now()
        let addition = roster.adding(settings, section: section, at: now)
        let entry = addition.entry
        try await commit(
            [entry.record(environment.circumstances(at: now))],
            removing: addition.formerNames.filter { $0 != entry.name })
        let former = former(entry.name)
        roster.add(addition)
        announce(entry, in: former)
        environment.log[.client].notice(
            "client added", metadata: ["client.name": "\(entry.name)", "reason": "an operator did"])
        if addition.isStillDisabled { logNotices([.stillDisabled(name: entry.name)]) }
        wakeUp.signal()
        return path(of: entry.name)
    }

    private func checkIsNew(_ settings: ClientSettings) throws(ConfigProblems) {
        let name = settings.name
        let message: String
        if roster[name] != nil {
            message = "there is a client of that name; remove it first, or change it"
        } else if roster.absent.removed[name] != nil {
            message = "clients.conf still has a client of that name, which was removed; delete that section, and reload"
        } else if let absent = roster.absent[name], absent.keyID != settings.keyID || absent.keyID == nil {
            message =
                "there was a client of that name, with another key, which is remembered; to forget it, run"
                + " mandos-ctl --forget \(name)"
        } else if let keyID = settings.keyID, let other = roster[keyID] {
            message = "[\(other.name)] has the same key ID; every client needs a key of its own"
        } else {
            return
        }
        throw ConfigProblems(problems: [ConfigProblem(path: "[\(name)]", message: message)])
    }

    /// Removes a client; durable when it returns. It is not served even if the configuration files still have it.
    ///
    /// - Throws: if it could not be saved; then the client still exists, but is disabled.
    public func remove(_ name: String) async throws(Failure) {
        guard let keyID = roster[name].map(\.configured.keyID) else { throw .unknown([name]) }
        try await disabling([name]) { () async throws(Failure) in
            await takeTurn()
            defer { passTurn() }
            // A reload may have renamed it, or given its name to another.
            guard let entry = keyID.map({ roster[$0] }) ?? roster[name] else { return try await commitUnsaved() }
            let name = entry.name
            var record: ClientRecord?
            if entry.section == nil {
                record = entry.record(environment.circumstances(at: environment.now()))
                record?.isRemoved = true
            }
            // What is hidden behind it lost its rights too.
            let hidden = roster.absent.leftOut.values.filter { $0.keyID == keyID && keyID != nil }
            try await commit((record.map { [$0] } ?? []) + hidden, removing: record == nil ? [name] : [])
            announceRemoval(name, reason: "an operator did")
            roster.remove(name, keeping: record)
            reconsider(keyID)
            await waitForCuts()
        }
    }

    /// Clients that left the configuration files while they were disabled, or that do not fit beside those, in order of their
    /// names.
    public var absent: [ClientRecord] {
        (Array(roster.absent.departed.values) + roster.absent.leftOut.values).sorted { $0.name < $1.name }
    }

    /// Forgets such a client: with its name, or its key, it may come back enabled. Durable when it returns.
    ///
    /// - Returns: whether there was one.
    public func forget(_ name: String) async throws(Failure) -> Bool {
        await takeTurn()
        defer { passTurn() }
        guard let record = roster.absent[name] else { return false }
        try await commit([], removing: [record.name])
        roster.forget(name)
        environment.log[.client].notice(
            "disabled client forgotten", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        return true
    }

    /// Changes a setting; saved when it returns, and nothing has changed if it throws.
    public func change(_ change: SettingChange, of name: String) async throws(Failure) {
        await takeTurn()
        defer { passTurn() }
        guard var client = roster[name]?.client else { return }
        let settings: ClientSettings
        do throws(SettingChange.Refusal) {
            settings = try change.applied(to: client.settings)
        } catch {
            throw .refused(error)
        }
        let now = environment.now()
        client.change(settings, at: now.boot)
        try await save(client, at: now)
        // What else has happened to the client meanwhile remains.
        self.change(name) { client in
            client.change(settings, at: bootTime)
            // As the reference implementation does.
            if case .interval = change { client.requestCheck(at: bootTime) }
        }
        await waitForCuts()
        wakeUp.signal()
    }

    /// Makes a client's check due now.
    public func startChecker(of name: String) {
        change(name) { $0.requestCheck(at: bootTime) }
        wakeUp.signal()
    }

    /// Kills a client's checker; its result is ignored.
    public func stopChecker(of name: String) {
        change(name) { $0.abandonCheck(at: bootTime) }
        environment.checkers.kill(name)
    }

    /// Records that an operator knows a client to be alive.
    public func wasSeen(_ name: String) { change(name) { $0.wasSeen(at: environment.now()) } }
}
