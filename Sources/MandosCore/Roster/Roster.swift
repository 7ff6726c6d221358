public import MandosFormats

/// All clients of the server, and the records of those that are absent.
public struct Roster {
    /// A client, and what the configuration says about it. A class, so that 100,000 of them move by reference.
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
        public func record(bootID: BootID, at now: Moment) -> ClientRecord {
            record(of: client, bootID: bootID, at: now)
        }

        /// The record to save if this client were as `client` is.
        public func record(of client: Client, bootID: BootID, at now: Moment) -> ClientRecord {
            var record = client.record(configured: configured, bootID: bootID, at: now)
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

    /// The client that proves itself by `keyID`.
    public subscript(keyID: KeyID) -> Entry? { nameOfKey[keyID].flatMap { entries[$0] } }

    public var count: Int { entries.count }

    /// The clients' names, in order.
    public var names: [String] { entries.keys.sorted() }

    /// Takes over what a plan says, once that is saved.
    public mutating func adopt(_ plan: RosterPlan) {
        if entries.isEmpty {
            entries.reserveCapacity(plan.entries.count)
            nameOfKey.reserveCapacity(plan.entries.count)
        }
        for name in plan.leaving { drop(name) }
        // A key may go from one client to another: every old one goes before the new ones come.
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
