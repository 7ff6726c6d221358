import Logging
import MandosBus
public import MandosCore
public import MandosFormats
public import ServiceLifecycle

/// All clients and what is known of each: the only mutable state of the server.
///
/// Connections, checkers and operators all come to it. It asks the pure values of MandosCore what should happen, and
/// sees to it that what takes rights away is durable before anybody is told.
public actor Registry: Service {
    /// What it needs of the world.
    public struct Environment: Sendable {
        public var now: @Sendable () -> Moment
        public var bootID: BootID
        /// A random part of a span.
        public var part: @Sendable (TimeSpan) -> TimeSpan
        public var checkers: any CheckerRunning
        public var store: any StateStore
        public var log: Log
        /// How many more files the process may open.
        public var spareDescriptors: Int

        public init(
            store: any StateStore, checkers: any CheckerRunning, log: Log,
            spareDescriptors: Int = .max,
            now: @escaping @Sendable () -> Moment = SystemClock.now, bootID: BootID = .current,
            part: @escaping @Sendable (TimeSpan) -> TimeSpan = {
                TimeSpan(milliseconds: Int64.random(in: 0...$0.milliseconds))
            }
        ) {
            self.now = now
            self.bootID = bootID
            self.part = part
            self.checkers = checkers
            self.store = store
            self.log = log
            self.spareDescriptors = spareDescriptors
        }
    }

    /// How many checkers may run at once at the most: they are waiting for the network most of the time.
    static let mostCheckersAtOnce = 200
    /// How many descriptors one takes while it is started, and some to spare.
    private static let descriptorsPerChecker = 8
    /// How many requests of one client may wait for approval at once.
    static let mostWaitingRequests = 64
    /// What only gives time is saved within this time: to lose it fails closed.
    static let saveDelay = TimeSpan.seconds(1)
    /// How often to say at most that checks cannot keep up.
    static let backlogReportInterval = TimeSpan.minutes(1)

    /// A client, and what the configuration says of it. A class, so that 100,000 of them move by reference.
    final class Entry {
        var client: Client
        var configured: ClientSettings
        /// What it consists of, if it is not in the configuration files but was added by an operator.
        var section: String?

        init(_ client: Client, configured: ClientSettings, section: String? = nil) {
            self.client = client
            self.configured = configured
            self.section = section
        }
    }

    /// The clients that operators added, as far as they can be beside those of the configuration files.
    struct Added {
        var clients: [ClientSettings] = []
        var sections: [String: String] = [:]
        /// Those that do not fit any more, and why.
        var misfits: [(name: String, problems: ConfigProblems)] = []
    }

    /// What the files say wins over what was added.
    static func read(
        _ sections: [(name: String, text: String)], beside configured: [ClientSettings],
        defaults: [ConfigFile.Section]
    ) -> Added {
        var added = Added()
        if sections.isEmpty { return added }
        let names = Set(configured.map(\.name))
        let keys = Set(configured.compactMap(\.keyID))
        for (name, text) in sections where !names.contains(name) {
            do throws(ConfigProblems) {
                let client = try AddedClient.read(text, defaults: defaults)
                if let keyID = client.keyID, keys.contains(keyID) {
                    let message = "another client in the configuration files has its key ID"
                    throw ConfigProblems(problems: [ConfigProblem(path: "[\(name)]", message: message)])
                }
                added.clients.append(client)
                added.sections[name] = text
            } catch {
                added.misfits.append((name, error))
            }
        }
        return added
    }

    private let executor = DispatchExecutor(label: "mandos.registry")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    let environment: Environment
    /// `[DEFAULT]` of clients.conf.
    var defaults: [ConfigFile.Section]
    var entries: [String: Entry] = [:]
    var nameOfKey: [KeyID: String] = [:]
    /// The connections that wait for an answer.
    var watchers: [String: [ObjectIdentifier: Connection]] = [:]
    var deadlines = DeadlineQueue()
    var turns: CheckerTurns
    /// Clients whose record on disk is older than what we know.
    var unsaved: Set<String> = []
    var nextSave: BootTime?
    var nextBacklogReport: BootTime?
    /// Clients that an operator removed although the configuration files still have them.
    var removed: [String: ClientRecord] = [:]
    /// Clients that were disabled when they left the configuration files: if they come back, they still are.
    var dormant: [String: ClientRecord] = [:]
    public internal(set) var counts = RequestCounts()
    /// nil when clients have come or gone since somebody asked.
    var sortedNames: [String]?
    /// Where the clients are on D-Bus; made when somebody first asks.
    lazy var paths = ObjectPaths(names)
    /// Who wants to know what happens.
    var observer: (@Sendable (RegistryEvent) -> Void)?
    let alarm = Alarm()

    /// Restores what was saved of the clients that are still configured, or were added, and forgets the others.
    ///
    /// `defaults` is the `[DEFAULT]` of clients.conf, which holds for added clients too.
    public init(
        _ settings: [ClientSettings], defaults: [ConfigFile.Section] = [], _ environment: Environment
    ) throws(StateStoreError) {
        self.environment = environment
        self.defaults = defaults
        let affordable = max(1, environment.spareDescriptors / Self.descriptorsPerChecker)
        turns = CheckerTurns(limit: min(Self.mostCheckersAtOnce, affordable))
        let now = environment.now()
        let records = try environment.store.load()
        // What takes rights away wins, should there ever be two.
        var saved = Dictionary(records.map { ($0.name, $0) }) { $0.until == nil || $0.isRemoved ? $0 : $1 }
        // Names that are the same to people, but not byte for byte, as the file writes them now.
        var respelt: [String] = []
        var new: [ClientRecord] = []
        var disabled: [String] = []
        var leftOut: [String: ClientRecord] = [:]
        entries.reserveCapacity(settings.count)
        nameOfKey.reserveCapacity(settings.count)
        let added = Self.read(
            records.compactMap { record in record.section.map { (record.name, $0) } }, beside: settings,
            defaults: defaults)
        for (name, problems) in added.misfits {
            // It may fit another time.
            saved[name] = nil
            environment.log[.configuration].error(
                "client left out: an operator added it, and it does not fit any more",
                metadata: ["client.name": "\(name)", "reason": "\(problems.problems.map(\.description))"])
        }
        let former = Former(saved.values)
        var stillDisabled: [String] = []
        // Hardly anybody adds clients, and to copy many for nothing takes time.
        for settings in added.clients.isEmpty ? settings : settings + added.clients {
            if let record = saved[settings.name], record.isRemoved {
                saved[settings.name] = nil
                leftOut[settings.name] = record
                continue
            }
            let untilFirstCheck = environment.part(settings.interval)
            let client: Client
            if let record = saved.removeValue(forKey: settings.name) {
                if !record.name.utf8.elementsEqual(settings.name.utf8) { respelt.append(record.name) }
                client = Client.restored(
                    settings, from: record, untilFirstCheck: untilFirstCheck, bootID: environment.bootID, at: now)
                if record.until != nil && client.status == .disabled { disabled.append(settings.name) }
            } else if let record = former.record(of: settings) {
                client = Client.restored(
                    settings, from: record, untilFirstCheck: untilFirstCheck, bootID: environment.bootID, at: now)
                saved[record.name] = nil
                respelt.append(record.name)
                stillDisabled.append(settings.name)
            } else {
                client = Client(settings, untilFirstCheck: untilFirstCheck, at: now)
            }
            let entry = Entry(client, configured: settings, section: added.sections[settings.name])
            entries[settings.name] = entry
            if let keyID = settings.keyID { nameOfKey[keyID] = settings.name }
            deadlines.set(client.nextDeadline, for: settings.name)
            new.append(entry.record(bootID: environment.bootID, at: now))
        }
        let dormant = saved.filter { $0.value.until == nil && !$0.value.isRemoved }
        let gone = saved.keys.filter { dormant[$0] == nil }
        // Byte for byte, as the database compares: what was just written stays.
        let written = respelt.isEmpty ? [] : Set(new.map { Array($0.name.utf8) })
        try environment.store.commit(new, removing: gone + respelt.filter { !written.contains(Array($0.utf8)) })
        removed = leftOut
        self.dormant = dormant
        for name in disabled {
            logDisabled(name, "its time ran out, or clients.conf disabled it, while the server was down")
        }
        for name in leftOut.keys { logStillConfigured(name) }
        for name in stillDisabled { logStillDisabled(name) }
    }

    nonisolated func logStillConfigured(_ name: String) {
        environment.log[.configuration].warning(
            "client left out: an operator removed it; delete its section, and reload",
            metadata: ["client.name": "\(name)"])
    }

    nonisolated func logStillDisabled(_ name: String) {
        environment.log[.configuration].warning(
            "client still disabled: it was when it left the configuration files; mandos-ctl --enable changes that",
            metadata: ["client.name": "\(name)"])
    }

    /// What is known of clients that are not there at the moment, and must not come back with more rights than they had.
    struct Former {
        private var byName: [String: ClientRecord] = [:]
        private var byKey: [KeyID: ClientRecord] = [:]

        init(_ records: some Sequence<ClientRecord>) {
            for record in records where record.until == nil {
                byName[record.name] = record
                if let keyID = record.keyID { byKey[keyID] = record }
            }
        }

        /// By its name, or by its key, under whatever name it had that.
        func record(of settings: ClientSettings) -> ClientRecord? {
            byName[settings.name] ?? settings.keyID.flatMap { byKey[$0] }
        }
    }

    /// From now on `observer` is told what happens. It must not wait for anything.
    public func observe(with observer: (@Sendable (RegistryEvent) -> Void)?) { self.observer = observer }

    /// A client as it is now.
    public func snapshot(_ name: String) -> ClientSnapshot? {
        guard let client = entries[name]?.client else { return nil }
        return ClientSnapshot(
            client: client, isApprovalPending: watchers[name] != nil, path: paths.add(name))
    }

    /// The clients' names, in order.
    public var names: [String] {
        if let sortedNames { return sortedNames }
        let names = entries.keys.sorted()
        sortedNames = names
        return names
    }

    /// Those of these clients that there still are.
    func snapshots(_ names: some Sequence<String>) -> [ClientSnapshot] { names.compactMap(snapshot) }

    /// Some clients whose names come after `name`, in order.
    func snapshots(after name: String, atMost limit: Int) -> [ClientSnapshot] {
        let names = names
        // Where the first name is that comes after.
        var (start, end) = (0, names.count)
        while start < end {
            let middle = (start + end) / 2
            if names[middle] > name { end = middle } else { start = middle + 1 }
        }
        return snapshots(names[start...].prefix(limit))
    }

    /// How many clients are enabled, and how many not.
    var countsByState: [String: Int] {
        let now = bootTime
        let enabled = entries.values.count { $0.client.isEnabled(at: now) }
        return ["enabled": enabled, "disabled": entries.count - enabled]
    }

    /// Which client is at a path on D-Bus.
    public func name(at path: String) -> String? { paths.name(at: path) }

    // MARK: Requests

    /// Who asks, and what the answer is at this moment.
    public struct Answer: Sendable {
        /// nil if no client has the key.
        public let clientName: String?
        public let decision: SecretDecision
    }

    /// The answer to a peer that proved to have the key `keyID`, or no key at all, and asked at `waitingSince`.
    ///
    /// That a client is disabled is durable before anybody is told.
    public func answer(to keyID: KeyID?, waitingSince: BootTime) -> Answer {
        guard let keyID, let name = nameOfKey[keyID], let client = entries[name]?.client else {
            return Answer(clientName: nil, decision: .refuse(.unknownKey))
        }
        let now = environment.now()
        if client.hasExpired(at: now.boot) { disableExpired([name]) }
        let decision = client.secretDecision(waitingSince: waitingSince, at: now)
        if case .awaitApproval = decision, now.boot - waitingSince < Self.saveDelay {
            change(name) { $0.approvalWasRequested(at: now.wall) }
        }
        return Answer(clientName: name, decision: decision)
    }

    /// Records that a client has received its secret whole.
    public func secretWasSent(toClientNamed name: String) {
        counts.secretsSent += 1
        tell(of: name) { .secretSent(path: $0) }
        change(name) { $0.secretWasSent(at: environment.now().boot) }
    }

    /// The present time on the clock that decides.
    public nonisolated var bootTime: BootTime { environment.now().boot }

    /// Records that a peer was refused.
    func secretWasRefused(_ refusal: Refusal, to connection: Connection, clientName: String?) {
        counts.refusals[refusal, default: 0] += 1
        if let clientName {
            tell(of: clientName) { .secretRefused(path: $0, refusal) }
        } else {
            observer?(.unknownKey(connection.keyID, address: connection.address))
        }
    }

    /// Wakes `connection` whenever there may be a new answer for the client; until `deadline` it waits for approval.
    ///
    /// - Returns: false if too many wait already.
    func watch(_ name: String, for connection: Connection, until deadline: BootTime) -> Bool {
        guard watchers[name, default: [:]].count < Self.mostWaitingRequests else { return false }
        let before = observedSnapshot(name)
        watchers[name, default: [:]][ObjectIdentifier(connection)] = connection
        tellOfChange(from: before, name)
        let span = max(.zero, deadline - bootTime)
        let isApproved = entries[name]?.client.settings.approvedByDefault ?? false
        tell(of: name) {
            .approvalNeeded(path: $0, within: span, approvedByDefault: isApproved, address: connection.address)
        }
        return true
    }

    func unwatch(_ name: String, for connection: Connection) {
        let before = observedSnapshot(name)
        watchers[name]?[ObjectIdentifier(connection)] = nil
        if watchers[name]?.isEmpty == true { watchers[name] = nil }
        tellOfChange(from: before, name)
    }

    /// Tells the observer, if there is one, of something about a client that there still is.
    func tell(of name: String, _ event: (_ path: String) -> RegistryEvent) {
        guard let observer, entries[name] != nil else { return }
        observer(event(paths.add(name)))
    }

    /// What to compare with later, if anybody wants to know.
    func observedSnapshot(_ name: String) -> ClientSnapshot? { observer == nil ? nil : snapshot(name) }

    func tellOfChange(from before: ClientSnapshot?, _ name: String) {
        guard let observer, let before, let after = snapshot(name), before != after else { return }
        observer(.changed(from: before, to: after, at: environment.now()))
    }

    // MARK: Keeping

    /// Changes a client in a way that may wait up to ``saveDelay`` to be saved.
    func change(_ name: String, _ body: (inout Client) -> Void) {
        guard var client = entries[name]?.client else { return }
        let before = client
        body(&client)
        guard client != before else { return }
        put(client, name)
        unsaved.insert(name)
        if nextSave == nil {
            nextSave = bootTime + Self.saveDelay
            alarm.ring()
        }
    }

    func put(_ client: Client, _ name: String) {
        guard let entry = entries[name] else { return }
        let before = entry.client
        let old = observedSnapshot(name)
        entry.client = client
        deadlines.set(client.nextDeadline, for: name)
        tellOfChange(from: old, name)
        if before.approval != client.approval || before.status != client.status || before.settings != client.settings {
            wakeWatchers(of: name)
        }
    }

    func wakeWatchers(of name: String) {
        for connection in watchers[name, default: [:]].values { connection.alarm.ring() }
    }

    /// What to keep of a client of ours, which may be different already from the one in ``entries``.
    func record(of client: Client, at now: Moment) -> ClientRecord {
        let old = entries[client.settings.name]
        let entry = Entry(client, configured: old?.configured ?? client.settings, section: old?.section)
        return entry.record(bootID: environment.bootID, at: now)
    }

    func saveUnsaved() {
        nextSave = nil
        guard !unsaved.isEmpty else { return }
        let now = environment.now()
        let names = unsaved
        unsaved = []
        let records = names.compactMap { entries[$0]?.client }.map { record(of: $0, at: now) }
        do throws(StateStoreError) {
            try environment.store.commit(records, removing: [])
        } catch {
            saveLater(names, because: error)
        }
    }

    /// Saving has failed, and is tried again before long.
    func saveLater(_ names: some Sequence<String>, because error: StateStoreError) {
        environment.log[.state].error("state not saved", metadata: ["reason": "\(error)"])
        unsaved.formUnion(names)
        nextSave = bootTime + Self.saveDelay
        alarm.ring()
    }
}

extension Registry.Entry {
    func record(bootID: BootID, at now: Moment) -> ClientRecord {
        var record = client.record(configured: configured, bootID: bootID, at: now)
        record.section = section
        return record
    }
}
