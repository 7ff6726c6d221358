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
        public var jitter: @Sendable (TimeSpan) -> TimeSpan
        public var checkers: any CheckerRunning
        public var store: any StateStore
        public var log: Log
        /// How many more files the process may open.
        public var spareDescriptors: Int

        public init(
            store: any StateStore, checkers: any CheckerRunning, log: Log,
            spareDescriptors: Int = .max,
            now: @escaping @Sendable () -> Moment = SystemClock.now, bootID: BootID = .current,
            jitter: @escaping @Sendable (TimeSpan) -> TimeSpan = {
                TimeSpan(milliseconds: Int64.random(in: 0...$0.milliseconds))
            }
        ) {
            self.now = now
            self.bootID = bootID
            self.jitter = jitter
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
    var turns: CheckerQueue
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
    let alarm = WakeUp()

    /// Restores what was saved of the clients that are still configured, or were added, and forgets the others.
    ///
    /// `defaults` is the `[DEFAULT]` of clients.conf, which holds for added clients too.
    public init(
        _ settings: [ClientSettings], defaults: [ConfigFile.Section] = [], _ environment: Environment
    ) throws(StateStoreError) {
        self.environment = environment
        self.defaults = defaults
        let affordable = max(1, environment.spareDescriptors / Self.descriptorsPerChecker)
        turns = CheckerQueue(limit: min(Self.mostCheckersAtOnce, affordable))
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
        let added = AddedClients(
            records.compactMap { record in record.section.map { (record.name, $0) } }, beside: settings,
            defaults: defaults)
        for (name, problems) in added.misfits {
            // It may fit another time.
            saved[name] = nil
            environment.log[.configuration].error(
                "client left out: an operator added it, and it does not fit any more",
                metadata: ["client.name": "\(name)", "reason": "\(problems.problems.map(\.description))"])
        }
        let former = FormerClients(saved.values)
        var stillDisabled: [String] = []
        // Hardly anybody adds clients, and to copy many for nothing takes time.
        for settings in added.clients.isEmpty ? settings : settings + added.clients {
            if let record = saved[settings.name], record.isRemoved {
                saved[settings.name] = nil
                leftOut[settings.name] = record
                continue
            }
            let firstCheckDelay = environment.jitter(settings.interval)
            let client: Client
            if let record = saved.removeValue(forKey: settings.name) {
                if !record.name.utf8.elementsEqual(settings.name.utf8) { respelt.append(record.name) }
                client = Client.restored(
                    settings, from: record, firstCheckDelay: firstCheckDelay, bootID: environment.bootID, at: now)
                if record.until != nil && client.status == .disabled { disabled.append(settings.name) }
            } else if let record = former.record(of: settings) {
                client = Client.restored(
                    settings, from: record, firstCheckDelay: firstCheckDelay, bootID: environment.bootID, at: now)
                saved[record.name] = nil
                respelt.append(record.name)
                stillDisabled.append(settings.name)
            } else {
                client = Client(settings, firstCheckDelay: firstCheckDelay, at: now)
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
