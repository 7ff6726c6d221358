import DequeModule
import Logging
import MandosBus
public import MandosCore
public import MandosFormats
public import ServiceLifecycle

/// All clients and what is known about them: the only mutable state of the server.
///
/// Connections, checkers and operators all use it. It asks the pure values of MandosCore what should happen, and saves
/// a change that takes rights away before it acknowledges it.
public actor Registry: Service {
    /// Dependencies, injected so that tests can replace them.
    public struct Environment: Sendable {
        public var now: @Sendable () -> Moment
        public var bootID: BootID
        /// Returns a random part of a span.
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

        /// The facts that a plan depends on.
        func circumstances(at now: Moment) -> Roster.Circumstances { .init(bootID: bootID, now: now, jitter: jitter) }
    }

    /// Maximum number of checkers that run at the same time: most of the time they wait for the network.
    static let maximumCheckers = 200
    /// Descriptors that one checker needs while it is started, with some to spare.
    private static let descriptorsPerChecker = 8

    private let executor = DispatchExecutor(label: "mandos.registry")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    let environment: Environment
    let writer: StateWriter
    /// `[DEFAULT]` of clients.conf.
    var defaults: [ConfigFile.Section]
    var roster = Roster() { didSet { sortedNames = nil } }
    /// The clients' names, in order; nil if they may have changed since they were sorted.
    var sortedNames: [String]?
    var deadlines = DeadlineQueue()
    var checkerQueue: CheckerQueue
    /// The requests that wait for approval, by key: a client that is renamed keeps its requests.
    var waiting: [KeyID: [ObjectIdentifier: WaitingRequest]] = [:]
    /// The requests that are being answered with a secret, by key.
    var receiving: [KeyID: [ObjectIdentifier: ReceivingRequest]] = [:]
    /// Connections that are being closed because their clients lost the right to the secret.
    var cuts: [ObjectIdentifier: Task<Void, Never>] = [:]
    /// Names of clients with changes that are not saved yet.
    var unsaved: Set<String> = []
    /// Why clients were disabled, until that is saved and logged: what a log says survives a crash.
    var untoldReasons: [String: String] = [:]
    var nextSave: BootTime?
    /// Why the disk perhaps does not have what is true; nil if it has all but ``unsaved``.
    var savingProblem: StateStoreError? {
        didSet { if (oldValue == nil) != (savingProblem == nil) { problemsChanged.yield() } }
    }
    /// Pauses between attempts to save, in milliseconds.
    var savePauses = Backoff(first: Registry.saveDelay.milliseconds, longest: 15_000, most: .max)
    /// An element whenever ``problems`` has changed; for one reader.
    nonisolated let problemChanges: AsyncStream<Void>
    private let problemsChanged: AsyncStream<Void>.Continuation
    /// Whether ``saveUnsaved()`` waits for its turn.
    var isSaveWaiting = false
    var hasTurnBeenTaken = false
    var waitingForTurn: Deque<CheckedContinuation<Void, Never>> = []
    /// Keys whose clients operators are disabling, and how many do: nobody may enable them meanwhile, under whatever name.
    var disabling: [KeyID: Int] = [:]
    /// Names of clients that have changed while a plan was being saved; nil if none is.
    var changedMeanwhile: Set<String>?
    var nextBacklogReport: BootTime?
    /// Whether checkers are ended because the server stops: that says nothing about their clients.
    var isStopping = false
    public internal(set) var counts = RequestCounts()
    /// The clients' object paths on D-Bus; created at the first use.
    lazy var paths = ObjectPaths(roster.entries.values)
    var subscriber: (@Sendable (RegistryEvent) -> Void)?
    /// Signalled when work may be due earlier than planned.
    let wakeUp = WakeUp()

    /// Restores the clients that are configured or were added, and forgets the others. Durable when it returns.
    ///
    /// `defaults` is the `[DEFAULT]` of clients.conf, which applies to added clients too.
    public init(
        _ configured: [ClientSettings], defaults: [ConfigFile.Section] = [], _ environment: Environment
    ) throws(StateStoreError) {
        self.environment = environment
        (problemChanges, problemsChanged) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        writer = StateWriter(environment.store)
        self.defaults = defaults
        let affordable = max(1, environment.spareDescriptors / Self.descriptorsPerChecker)
        checkerQueue = CheckerQueue(limit: min(Self.maximumCheckers, affordable))
        let plan = Roster.plan(
            configured, defaults: defaults, saved: try environment.store.load(),
            environment.circumstances(at: environment.now()))
        try environment.store.commit(plan.records, removing: plan.forgotten)
        roster.adopt(plan)
        for entry in plan.entries { deadlines.set(Self.deadline(of: entry.client, environment), for: entry.name) }
        for (name, problems) in plan.misfits {
            environment.log[.configuration].error(
                "client left out: an operator added it, and it no longer fits beside the configuration files",
                metadata: ["client.name": "\(name)", "reason": "\(problems.problems.map(\.description))"])
        }
        logNotices(plan.notices)
    }

    /// The present time on the boot clock, which all deadlines are measured on.
    public nonisolated var bootTime: BootTime { environment.now().boot }

    /// Replaces a client with its changed value, and updates everything that depends on it.
    func put(_ client: Client, _ name: String) {
        guard let entry = roster[name] else { return }
        let before = entry.client
        let snapshot = subscribedSnapshot(name)
        entry.client = client
        changedMeanwhile?.insert(name)
        setDeadline(of: client, name)
        publishChange(from: snapshot, name)
        if before.approval != client.approval || before.status != client.status || before.settings != client.settings
            || before.passedKeyExpiry != client.passedKeyExpiry
        {
            reconsider(client.settings.keyID)
        }
    }

    /// Has ``advance()`` look at the client when its next deadline is due.
    func setDeadline(of client: Client, _ name: String) {
        deadlines.set(Self.deadline(of: client, environment), for: name)
    }

    private static func deadline(of client: Client, _ environment: Environment) -> BootTime? {
        // Few clients have a key whose time ends: the others need no look at the clock.
        guard client.settings.keyExpires != nil, let expiry = client.keyExpiryDue(at: environment.now()) else {
            return client.nextDeadline
        }
        return client.nextDeadline.map { min($0, expiry) } ?? expiry
    }

    // MARK: Log

    /// Logs why a client was disabled, if that is not logged yet.
    func tellReason(_ name: String) {
        if let reason = untoldReasons.removeValue(forKey: name) { logDisabled(name, reason) }
    }

    nonisolated func logDisabled(_ name: String, _ reason: String) {
        environment.log[.client].warning(
            "client disabled", metadata: ["client.name": "\(name)", "reason": "\(reason)"])
    }

    nonisolated func logNotices(_ notices: [RosterPlan.Notice]) {
        for notice in notices {
            switch notice {
            case .disabledMeanwhile(let name):
                logDisabled(name, "its time ran out, or clients.conf disabled it, while the server was down")
            case .stillRemoved(let name):
                environment.log[.configuration].warning(
                    "client left out: an operator removed it; delete its section, and reload",
                    metadata: ["client.name": "\(name)"])
            case .stillDisabled(let name):
                environment.log[.configuration].warning(
                    "client still disabled: its key was, or its name, before the configuration files changed; to enable it, use mandos-ctl",
                    metadata: ["client.name": "\(name)"])
            }
        }
    }
}
