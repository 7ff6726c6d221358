import Logging
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

        public init(
            store: any StateStore, checkers: any CheckerRunning, log: Log,
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
        }
    }

    /// How many checkers may run at once: they are waiting for the network most of the time.
    static let mostCheckersAtOnce = 200
    /// How many requests of one client may wait for approval at once.
    static let mostWaitingRequests = 64
    /// What only gives time is saved within this time: to lose it fails closed.
    static let saveDelay = TimeSpan.seconds(1)
    /// How often to say at most that checks cannot keep up.
    static let backlogReportInterval = TimeSpan.minutes(1)

    /// A client, and what the configuration says of it. A class, so that 100,000 of them move by reference.
    private final class Entry {
        var client: Client
        var configured: ClientSettings

        init(_ client: Client, configured: ClientSettings) {
            self.client = client
            self.configured = configured
        }
    }

    private let executor = DispatchExecutor(label: "mandos.registry")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private let environment: Environment
    private var entries: [String: Entry] = [:]
    private var nameOfKey: [KeyID: String] = [:]
    /// The connections that wait for an answer.
    private var watchers: [String: [ObjectIdentifier: Connection]] = [:]
    private var deadlines = DeadlineQueue()
    private var turns = CheckerTurns(limit: mostCheckersAtOnce)
    /// Clients whose record on disk is older than what we know.
    private var unsaved: Set<String> = []
    private var nextSave: BootTime?
    private var nextBacklogReport: BootTime?
    private let alarm = Alarm()

    /// Restores what was saved of the clients that are still configured, and forgets the others.
    public init(_ settings: [ClientSettings], _ environment: Environment) throws(StateStoreError) {
        self.environment = environment
        let now = environment.now()
        let records = try environment.store.load()
        var saved = Dictionary(records.map { ($0.name, $0) }) { $1 }
        var new: [ClientRecord] = []
        var disabled: [String] = []
        entries.reserveCapacity(settings.count)
        nameOfKey.reserveCapacity(settings.count)
        for settings in settings {
            let untilFirstCheck = environment.part(settings.interval)
            let client: Client
            if let record = saved.removeValue(forKey: settings.name) {
                client = Client.restored(
                    settings, from: record, untilFirstCheck: untilFirstCheck, bootID: environment.bootID, at: now)
                if record.until != nil && client.status == .disabled { disabled.append(settings.name) }
            } else {
                client = Client(settings, untilFirstCheck: untilFirstCheck, at: now)
            }
            entries[settings.name] = Entry(client, configured: settings)
            if let keyID = settings.keyID { nameOfKey[keyID] = settings.name }
            deadlines.set(client.nextDeadline, for: settings.name)
            new.append(client.record(configured: settings, bootID: environment.bootID, at: now))
        }
        try environment.store.commit(new, removing: Array(saved.keys))
        for name in disabled {
            logDisabled(name, "its time ran out, or clients.conf disabled it, while the server was down")
        }
    }

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
        for new in settings {
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
            removing: Array(removed))
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
        entries[name] = nil
        unsaved.remove(name)
        deadlines.set(nil, for: name)
        environment.checkers.kill(name)
        wakeWatchers(of: name)
    }

    private func adopt(_ new: Entry) {
        let client = new.client
        let name = client.settings.name
        let old = entries[name]
        let wasEnabled = old.map { $0.client.status != .disabled } ?? false
        if let keyID = old?.configured.keyID { nameOfKey[keyID] = nil }
        entries[name] = new
        unsaved.remove(name)
        deadlines.set(client.nextDeadline, for: name)
        if client.status == .disabled {
            environment.checkers.kill(name)
            if wasEnabled { logDisabled(name, "clients.conf says so") }
        }
        wakeWatchers(of: name)
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
        var decision = client.secretDecision(waitingSince: waitingSince, at: now)
        if case .awaitApproval = decision, watchers[name, default: [:]].count > Self.mostWaitingRequests {
            decision = .refuse(.tooManyRequests)
        }
        if case .awaitApproval = decision, now.boot - waitingSince < Self.saveDelay {
            change(name) { $0.approvalWasRequested(at: now.wall) }
        }
        return Answer(clientName: name, decision: decision)
    }

    /// Records that a client has received its secret whole.
    public func secretWasSent(toClientNamed name: String) {
        change(name) { $0.secretWasSent(at: environment.now().boot) }
    }

    /// The present time on the clock that decides.
    public nonisolated var bootTime: BootTime { environment.now().boot }

    /// Wakes `connection` whenever there may be a new answer for the client.
    func watch(_ name: String, for connection: Connection) {
        watchers[name, default: [:]][ObjectIdentifier(connection)] = connection
    }

    func unwatch(_ name: String, for connection: Connection) {
        watchers[name]?[ObjectIdentifier(connection)] = nil
        if watchers[name]?.isEmpty == true { watchers[name] = nil }
    }

    // MARK: Operators

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
        guard var client = entries[name]?.client else { return }
        client.disable()
        environment.checkers.kill(name)
        put(client, name)
        try environment.store.commit([record(of: client, at: environment.now())], removing: [])
        unsaved.remove(name)
    }

    /// Gives a client a new life, which begins with a check; saved when it returns.
    public func enable(_ name: String) throws(StateStoreError) {
        guard var client = entries[name]?.client, client.status == .disabled else { return }
        let now = environment.now()
        client.enable(untilFirstCheck: .zero, at: now)
        try environment.store.commit([record(of: client, at: now)], removing: [])
        put(client, name)
        alarm.ring()
    }

    /// How many clients there are.
    public var count: Int { entries.count }

    /// A client as it is now.
    public func client(named name: String) -> Client? { entries[name]?.client }

    // MARK: Time

    /// Checks the clients and disables those whose time is over, until a graceful shutdown.
    public func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                while !Task.isShuttingDownGracefully && !Task.isCancelled {
                    for check in advance() {
                        group.addTask { await self.runChecker(check) }
                    }
                    await alarm.wait(for: nextTurn())
                }
                stopCheckers()
            }
            saveUnsaved()
        } onGracefulShutdown: {
            self.alarm.ring()
        }
    }

    struct DueCheck: Sendable {
        let name: String
        let command: String
    }

    /// Does all that is due now.
    ///
    /// - Returns: the checkers to start.
    func advance() -> [DueCheck] {
        let now = environment.now()
        var expired: [String] = []
        while let name = deadlines.popDue(at: now.boot) {
            guard var client = entries[name]?.client else { continue }
            if client.hasExpired(at: now.boot) {
                expired.append(name)
            } else {
                if client.isCheckDue(at: now.boot) {
                    client.queueCheck(at: now.boot)
                    turns.enqueue(name)
                }
                put(client, name)
            }
        }
        if !expired.isEmpty { disableExpired(expired) }
        if let nextSave, nextSave <= now.boot { saveUnsaved() }
        defer { reportBacklog(at: now) }
        return startChecks(at: now)
    }

    /// Says so, now and then, when checks have to wait for longer than their interval.
    private func reportBacklog(at now: Moment) {
        guard let name = turns.first, let client = entries[name]?.client, let delay = client.queueDelay(at: now.boot),
            delay > client.settings.interval, nextBacklogReport.map({ $0 <= now.boot }) ?? true
        else { return }
        nextBacklogReport = now.boot + Self.backlogReportInterval
        environment.log[.checker].warning(
            "checks cannot keep up: give clients a longer interval, or a checker that takes less time",
            metadata: ["waiting": "\(turns.waitingCount)", "longest.wait": "\(delay.rfc3339)"])
    }

    /// How long something has been due, and was not done.
    var lateness: TimeSpan { max(.zero, bootTime - (deadlines.next() ?? bootTime)) }

    private func nextTurn() -> TimeSpan {
        let next = [deadlines.next(), nextSave].compactMap { $0 }.min()
        guard let next else { return .minutes(60) }
        return max(.zero, next - bootTime)
    }

    private func startChecks(at now: Moment) -> [DueCheck] {
        var due: [DueCheck] = []
        while let name = turns.start(where: { entries[$0]?.client.isEnabled(at: now.boot) == true }) {
            guard var client = entries[name]?.client else { continue }
            client.checkStarted(at: now.boot)
            put(client, name)
            due.append(
                DueCheck(name: name, command: client.settings.checker.expanded { client.value(of: $0, at: now) }))
        }
        return due
    }

    private func runChecker(_ check: DueCheck) async {
        do {
            let ending = try await environment.checkers.run(check.command, for: check.name)
            checkerEnded(check.name, ending)
        } catch {
            environment.log[.checker].error(
                "checker not started", metadata: ["client.name": "\(check.name)", "reason": "\(error)"])
            change(check.name) { $0.checkFailedToStart(at: environment.now().boot) }
            turns.ended(check.name)
            alarm.ring()
        }
    }

    func checkerEnded(_ name: String, _ ending: Client.CheckerEnding) {
        defer {
            turns.ended(name)
            alarm.ring()
        }
        guard let before = entries[name]?.client else { return }
        environment.log[.checker].debug("checker ended", metadata: ["client.name": "\(name)", "ending": "\(ending)"])
        change(name) { $0.checkEnded(ending, at: environment.now()) }
        // After a restart the last checker decides whether a client whose time is over gets more of it: a failure
        // takes that right away.
        if before.lastCheckerEnding?.isOK == true && !ending.isOK { saveUnsaved() }
    }

    private func disableExpired(_ names: [String]) {
        let now = environment.now()
        var records: [ClientRecord] = []
        for name in names {
            guard var client = entries[name]?.client else { continue }
            client.disable()
            environment.checkers.kill(name)
            put(client, name)
            records.append(record(of: client, at: now))
        }
        do throws(StateStoreError) {
            try environment.store.commit(records, removing: [])
            unsaved.subtract(names)
        } catch {
            // They stay disabled as long as the server lives; saving is tried again.
            environment.log[.state].error("state not saved", metadata: ["reason": "\(error)"])
            unsaved.formUnion(names)
            nextSave = now.boot + Self.saveDelay
        }
        for name in names { logDisabled(name, "not seen for too long") }
    }

    private nonisolated func logDisabled(_ name: String, _ reason: String) {
        environment.log[.checker].warning(
            "client disabled", metadata: ["client.name": "\(name)", "reason": "\(reason)"])
    }

    private func stopCheckers() {
        for name in entries.keys { environment.checkers.kill(name) }
    }

    // MARK: Keeping

    /// Changes a client in a way that may wait up to ``saveDelay`` to be saved.
    private func change(_ name: String, _ body: (inout Client) -> Void) {
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

    private func put(_ client: Client, _ name: String) {
        guard let entry = entries[name] else { return }
        let before = entry.client
        entry.client = client
        deadlines.set(client.nextDeadline, for: name)
        if before.approval != client.approval || before.status != client.status { wakeWatchers(of: name) }
    }

    private func wakeWatchers(of name: String) {
        for connection in watchers[name, default: [:]].values { connection.alarm.ring() }
    }

    private func record(of client: Client, at now: Moment) -> ClientRecord {
        let name = client.settings.name
        return client.record(
            configured: entries[name]?.configured ?? client.settings, bootID: environment.bootID, at: now)
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
            environment.log[.state].error("state not saved", metadata: ["reason": "\(error)"])
            unsaved.formUnion(names)
            nextSave = now.boot + Self.saveDelay
        }
    }
}
