public import MandosFormats

/// All clients of the server, and the records of those that are absent.
public struct Roster {
    /// A client and its configuration. A class, so that 100,000 of them move by reference.
    public final class Entry {
        public var client: Client
        public let configured: ClientSettings
        /// The section that defines the client, if an operator added it and it is in no configuration file.
        public let section: String?

        public init(_ client: Client, configured: ClientSettings, section: String? = nil) {
            self.client = client
            self.configured = configured
            self.section = section
        }

        public var name: String { configured.name }

        /// The record to save for this client.
        public func record(_ circumstances: Circumstances) -> ClientRecord { record(of: client, circumstances) }

        /// The record to save if this client had the value `client`.
        public func record(of client: Client, _ circumstances: Circumstances) -> ClientRecord {
            var record = client.record(
                configured: configured, bootID: circumstances.bootID, at: circumstances.now)
            record.section = section
            return record
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

    /// Adds a client; a record of an absent client of that name is forgotten.
    public mutating func add(_ entry: Entry) {
        absent.departed[entry.name] = nil
        insert(entry)
    }

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
        let sections = entries.values.compactMap { entry in entry.section.map { (entry.name, $0) } }
        return Self.plan(
            configured, added: AddedClients(sections, beside: configured, defaults: defaults), known, circumstances)
    }

    private static func plan(
        _ configured: [ClientSettings], added: AddedClients, _ known: [String: RosterPlan.Known],
        _ circumstances: Circumstances
    ) -> RosterPlan {
        var planner = Planner(configured, added, known, circumstances)
        // A client that does not fit now may fit later: its record stays as it is.
        for (name, _) in added.misfits { planner.known[name] = nil }
        for settings in configured { planner.place(settings, section: nil) }
        for settings in added.clients { planner.place(settings, section: added.sections[settings.name]) }
        return planner.finish()
    }
}
