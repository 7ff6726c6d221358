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

        public var description: String {
            switch self {
            case .refused(let refusal): refusal.description
            case .badSection(let problems): problems.problems.map(\.description).joined(separator: "\n")
            case .notSaved(let error): error.description
            }
        }
    }

    /// Approves or denies the requests of a client that wait now, each for good, and those that come within its
    /// `approval_duration` from then.
    ///
    /// A denial is durable when it returns.
    /// - Throws: if it could not be saved. The answer holds nevertheless, until the server restarts.
    public func answerRequests(of name: String, approved: Bool) throws(StateStoreError) {
        guard var client = roster[name]?.client else { return }
        // However long saving takes, the requests that wait have their answer.
        settleWaiting(client.settings.keyID, approved: approved)
        let now = environment.now()
        client.answer(approved: approved, at: now.boot)
        put(client, name)
        if approved { return }
        defer { change(name) { $0.answer(approved: false, at: bootTime) } }
        try saveLossOfRights([client], at: now)
    }

    /// Disables a client; durable when it returns.
    ///
    /// - Throws: if it could not be saved. The client is disabled nevertheless, until the server restarts.
    public func disable(_ name: String) throws(StateStoreError) {
        guard var client = roster[name]?.client, client.status != .disabled || unsaved.contains(name) else { return }
        client.disable()
        environment.checkers.kill(name)
        put(client, name)
        logDisabled(name, "an operator did")
        try saveLossOfRights([client], at: environment.now())
    }

    /// Gives a client a new lease, which begins with a check; saved when it returns.
    public func enable(_ name: String) throws(StateStoreError) {
        guard var client = roster[name]?.client, client.status == .disabled else { return }
        let now = environment.now()
        client.enable(firstCheckDelay: .zero, at: now)
        try save(client, at: now)
        put(client, name)
        environment.log[.client].notice(
            "client enabled", metadata: ["client.name": "\(name)", "reason": "an operator did"])
        wakeUp.signal()
    }

    /// Adds a client from a section in the format of clients.conf, saved with the state. Durable when it returns.
    ///
    /// - Returns: the client's object path on D-Bus.
    /// - Throws: ``Failure``; then nothing has changed.
    public func add(_ section: String) throws(Failure) -> String {
        let settings: ClientSettings
        do throws(ConfigProblems) {
            settings = try AddedClient.read(section, defaults: defaults)
            try checkIsNew(settings)
        } catch {
            throw .badSection(error)
        }
        let now = environment.now()
        let client = Client(settings, firstCheckDelay: .zero, at: now)
        let entry = Roster.Entry(client, configured: settings, section: section)
        let record = entry.record(environment.circumstances(at: now))
        try saving { () throws(StateStoreError) in try environment.store.commit([record], removing: []) }
        let former = former(entry.name)
        roster.add(entry)
        announce(entry, in: former)
        environment.log[.client].notice(
            "client added", metadata: ["client.name": "\(entry.name)", "reason": "an operator did"])
        wakeUp.signal()
        return paths.add(entry.name)
    }

    private func checkIsNew(_ settings: ClientSettings) throws(ConfigProblems) {
        let name = settings.name
        let message: String
        if roster[name] != nil {
            message = "there is a client of that name; remove it first, or change it"
        } else if roster.absent.removed[name] != nil {
            message = "clients.conf still has a client of that name, which was removed; delete that section, and reload"
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
    public func remove(_ name: String) throws(StateStoreError) {
        try disable(name)
        guard let entry = roster[name] else { return }
        var record: ClientRecord?
        if entry.section == nil {
            record = entry.record(environment.circumstances(at: environment.now()))
            record?.isRemoved = true
        }
        try environment.store.commit(record.map { [$0] } ?? [], removing: record == nil ? [name] : [])
        announceRemoval(name, reason: "an operator did")
        roster.remove(name, keeping: record)
    }

    /// Changes a setting; saved when it returns, and nothing has changed if it throws.
    public func change(_ change: SettingChange, of name: String) throws(Failure) {
        guard var client = roster[name]?.client else { return }
        let now = environment.now()
        do throws(SettingChange.Refusal) {
            client.change(try change.applied(to: client.settings), at: now.boot)
        } catch {
            throw .refused(error)
        }
        // As the reference implementation does.
        if case .interval = change { client.requestCheck(at: now.boot) }
        let changed = client
        try saving { () throws(StateStoreError) in try save(changed, at: now) }
        put(client, name)
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
