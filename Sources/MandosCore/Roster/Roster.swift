public import MandosFormats

/// All clients of the server, and the records of those that are absent.
public struct Roster {
    /// A client and its configuration. A class, so that 100,000 of them move by reference.
    public final class Entry {
        public var client: Client
        public let configured: ClientSettings
        /// The section that defines the client, if an operator added it and it is in no configuration file.
        public let section: String?
        /// The object path on D-Bus, if it does not follow from the name alone.
        public var objectPath: String?
        /// What was said last about when the lease ends, and the end that this was said of.
        private var saidExpiry: (end: BootTime, wall: Timestamp)?

        public init(
            _ client: Client, configured: ClientSettings, section: String? = nil, objectPath: String? = nil
        ) {
            self.client = client
            self.configured = configured
            self.section = section
            self.objectPath = objectPath
        }

        public var name: String { configured.name }

        /// The record to save for this client.
        public func record(_ circumstances: Circumstances) -> ClientRecord { record(of: client, circumstances) }

        /// The record to save if this client had the value `client`.
        public func record(of client: Client, _ circumstances: Circumstances) -> ClientRecord {
            var record = client.record(
                configured: configured, bootID: circumstances.bootID, at: circumstances.now)
            record.section = section
            record.objectPath = objectPath
            return record
        }

        /// When the client will be disabled if there is no sign of life, in wall time; nil if it is disabled.
        ///
        /// The same at each call until the lease changes, although it is computed from two clocks.
        public func expires(at now: Moment) -> Timestamp? {
            guard let end = client.leaseEnd(at: now.boot) else { return nil }
            if let saidExpiry, saidExpiry.end == end { return saidExpiry.wall }
            let wall = client.expires(at: now)
            saidExpiry = wall.map { (end, $0) }
            return wall
        }
    }

    /// By name.
    public private(set) var entries: [String: Entry] = [:]
    public private(set) var absent = AbsentClients()
    private var nameOfKey: [KeyID: String] = [:]

    public init() {}

    public subscript(name: String) -> Entry? { entries[name] }

    /// The client with this key ID.
    public subscript(keyID: KeyID) -> Entry? { nameOfKey[keyID].flatMap { entries[$0] } }

    /// The record to save under this name; nil if there is nothing to remember.
    public func record(_ name: String, _ circumstances: Circumstances) -> ClientRecord? {
        entries[name]?.record(circumstances) ?? absent.removed[name] ?? absent[name]
    }

    public var count: Int { entries.count }

    /// The clients' names, in order.
    public var names: [String] { entries.keys.sorted() }

    /// Carries out a plan, once it is saved.
    public mutating func adopt(_ plan: RosterPlan) {
        if entries.isEmpty {
            entries.reserveCapacity(plan.entries.count)
            nameOfKey.reserveCapacity(plan.entries.count)
        }
        for name in plan.leaving { drop(name) }
        // A key may move from one client to another: all old entries are removed before new ones are inserted.
        for entry in plan.entries { drop(entry.name) }
        for entry in plan.entries { insert(entry) }
        absent = plan.absent
    }

    /// A client that an operator adds, before it is saved.
    public struct Addition {
        public let entry: Entry
        /// Whether it is disabled because its key was when it left the configuration files.
        public let isStillDisabled: Bool
        /// Names under which the key was known before; from now on, its state is that of the new client.
        public let formerNames: [String]
    }

    /// Decides about a client that an operator adds, whose name and key no client has.
    public func adding(_ settings: ClientSettings, section: String, at now: Moment) -> Addition {
        let former = settings.keyID.flatMap { absent[$0] }
        var client = Client(settings, firstCheckDelay: .zero, at: now)
        if former != nil { client.disable() }
        return Addition(
            entry: Entry(client, configured: settings, section: section), isStillDisabled: former != nil,
            formerNames: settings.keyID.map { keyID in
                (Array(absent.departed.values) + absent.leftOut.values).filter { $0.keyID == keyID }.map(\.name)
            } ?? [])
    }

    /// Adds a client, once it is saved.
    public mutating func add(_ addition: Addition) {
        for name in addition.formerNames { absent.forget(name) }
        insert(addition.entry)
    }

    /// Disables clients that are left out and have this key, which another client loses its rights with; tells their names.
    public mutating func disableLeftOut(_ keyID: KeyID) -> [String] { absent.disableLeftOut(keyID) }

    /// Forgets a client that left while it was disabled, or that does not fit beside the configuration files.
    public mutating func forget(_ name: String) { absent.forget(name) }

    /// Removes a client. `record` is kept while the configuration files still have the client.
    public mutating func remove(_ name: String, keeping record: ClientRecord?) {
        drop(name)
        absent.removed[name] = record
    }

    private mutating func insert(_ entry: Entry) {
        entries[entry.name] = entry
        if let keyID = entry.configured.keyID { nameOfKey[keyID] = entry.name }
    }

    private mutating func drop(_ name: String) {
        guard let entry = entries.removeValue(forKey: name) else { return }
        if let keyID = entry.configured.keyID, nameOfKey[keyID] == name { nameOfKey[keyID] = nil }
    }
}

extension Roster {
    /// The facts that a plan depends on besides the configuration.
    public struct Circumstances {
        public var bootID: BootID
        public var now: Moment
        /// Returns a random part of a span, so that clients that start together are not checked together for ever.
        public var jitter: (TimeSpan) -> TimeSpan

        public init(bootID: BootID, now: Moment, jitter: @escaping (TimeSpan) -> TimeSpan) {
            self.bootID = bootID
            self.now = now
            self.jitter = jitter
        }
    }

    /// The plan for a start, from everything that was saved.
    public static func plan(
        _ configured: [ClientSettings], defaults: [ConfigFile.Section] = [], saved: consuming [ClientRecord],
        _ circumstances: Circumstances
    ) -> RosterPlan {
        let sections = saved.compactMap { record in record.section.map { (record.name, $0) } }
        var known: [String: RosterPlan.Known] = [:]
        known.reserveCapacity(saved.count)
        for record in saved {
            // Of two records of one name, the one that takes rights away counts.
            if known[record.name]?.withoutRights(circumstances) != nil { continue }
            known[record.name] = record.isRemoved ? .removed(record) : .saved(record)
        }
        // Of 100,000 clients, two copies would take 40 MB more.
        saved = []
        return plan(
            configured, added: AddedClients(sections, beside: configured, defaults: defaults), known, circumstances)
    }

    /// The plan for a reload.
    public func plan(
        _ configured: [ClientSettings], defaults: [ConfigFile.Section] = [], _ circumstances: Circumstances
    ) -> RosterPlan {
        var known = entries.mapValues { RosterPlan.Known.serving($0) }
        for (name, record) in absent.departed { known[name] = .departed(record) }
        for (name, record) in absent.removed { known[name] = .removed(record) }
        for (name, record) in absent.leftOut { known[name] = .leftOut(record) }
        let sections = entries.values.compactMap { entry in entry.section.map { (entry.name, $0) } }
        return Self.plan(
            configured, added: AddedClients(sections, beside: configured, defaults: defaults), known, circumstances)
    }

    private static func plan(
        _ configured: [ClientSettings], added: AddedClients, _ known: consuming [String: RosterPlan.Known],
        _ circumstances: Circumstances
    ) -> RosterPlan {
        var planner = Planner(configured, added, known, circumstances)
        for settings in configured { planner.place(settings, section: nil) }
        for settings in added.clients { planner.place(settings, section: added.sections[settings.name]) }
        return planner.finish()
    }
}
