import MandosFormats

/// The changes of a start or a reload, decided from the configuration and the known clients before anything is saved.
///
/// Source: mandos(8), PERSISTENT STATE; reloading and added clients are ours.
public struct RosterPlan {
    /// Clients that are new, restored or changed. At a start these are all clients.
    public internal(set) var entries: [Roster.Entry] = []
    /// Clients that are served now and have left the configuration.
    public internal(set) var leaving: [String] = []
    /// Clients that will be absent.
    public internal(set) var absent = AbsentClients()
    /// Clients that an operator added and that do not fit beside the configuration files any more.
    public internal(set) var misfits: [(name: String, problems: ConfigProblems)] = []
    /// Messages for operators, once the plan is carried out.
    public internal(set) var notices: [Notice] = []
    /// Records to save, in one transaction with removing those of ``forgotten``.
    public internal(set) var records: [ClientRecord] = []
    /// Names whose records are deleted.
    public internal(set) var forgotten: [String] = []

    public enum Notice: Equatable, Sendable {
        /// Disabled at the start: its lease ended, or the file disabled it, while the server was down.
        case disabledMeanwhile(name: String)
        /// Not served: an operator removed it, but the configuration files still have it.
        case stillRemoved(name: String)
        /// Disabled, as it was when it left the configuration files.
        case stillDisabled(name: String)
    }

    /// The state of a client before the plan is made.
    enum Known {
        case serving(Roster.Entry)
        /// Saved before the server was started.
        case saved(ClientRecord)
        case departed(ClientRecord)
        case removed(ClientRecord)
        /// Added by an operator, and does not fit beside the configuration files.
        case leftOut(ClientRecord)

        /// The record of a client that is absent or not enabled; nil if the client may come back with its rights.
        func withoutRights(_ circumstances: Roster.Circumstances) -> ClientRecord? {
            switch self {
            case .serving(let entry):
                if entry.client.isEnabled(at: circumstances.now.boot) { return nil }
                var client = entry.client
                client.disable()
                return entry.record(of: client, circumstances)
            case .saved(var record), .leftOut(var record):
                guard record.isOver(bootID: circumstances.bootID, at: circumstances.now) else { return nil }
                record.until = nil
                return record
            case .departed(let record), .removed(let record): return record
            }
        }

        /// The key, and the end of its time that has passed once; see ``Client/passedKeyExpiry``.
        var passedKeyExpiry: (keyID: KeyID, expiry: Timestamp)? {
            let (keyID, expiry) =
                switch self {
                case .serving(let entry): (entry.client.settings.keyID, entry.client.passedKeyExpiry)
                case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record):
                    (record.keyID, record.passedKeyExpiry)
                }
            guard let keyID, let expiry else { return nil }
            return (keyID, expiry)
        }

        /// The end of a denial that holds now.
        func denial(_ circumstances: Roster.Circumstances) -> (keyID: KeyID, until: BootTime)? {
            let now = circumstances.now
            switch self {
            case .serving(let entry):
                guard let keyID = entry.client.settings.keyID, case .denied(let until) = entry.client.approval,
                    now.boot < until
                else { return nil }
                return (keyID, until)
            case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record):
                guard let keyID = record.keyID,
                    let remaining = record.deniedUntil?.remaining(bootID: circumstances.bootID, at: now),
                    remaining > .zero
                else { return nil }
                return (keyID, now.boot + remaining)
            }
        }
    }
}

/// Makes a plan, client by client.
struct Planner {
    let circumstances: Roster.Circumstances
    /// Clients that are not planned yet; those left after the configured clients have left the configuration.
    var known: [String: RosterPlan.Known]
    var plan = RosterPlan()
    /// Clients without rights, by key: they get no more under another name.
    private var withoutRights: [KeyID: ClientRecord] = [:]
    /// The ends of denials, by key.
    private var denials: [KeyID: BootTime] = [:]
    private var passedKeyExpiries: [KeyID: Timestamp] = [:]
    /// Records of absent clients that have changed.
    private var changedRecords: [ClientRecord] = []
    /// Keys without rights whose clients have other keys now.
    private var formerKeys: [ClientRecord] = []
    /// Names whose records are obsolete: of clients that are gone, or that are spelt or named differently now.
    private var formerNames: [String] = []

    /// The names that have a section, in the files or added.
    private lazy var existing = Set((configured + added.clients).map(\.name) + leftOutNames)
    private lazy var leftOutNames = known.compactMap { name, item in if case .leftOut = item { name } else { nil } }
    private lazy var configuredKeys = Set((configured + added.clients).compactMap(\.keyID))
    private let configured: [ClientSettings]
    private let added: AddedClients

    init(
        _ configured: [ClientSettings], _ added: AddedClients, _ known: consuming [String: RosterPlan.Known],
        _ circumstances: Roster.Circumstances
    ) {
        self.configured = configured
        self.added = added
        self.known = known
        plan.misfits = added.misfits
        self.circumstances = circumstances
        for item in self.known.values {
            if let denial = item.denial(circumstances) { denials[denial.keyID] = denial.until }
            if let passed = item.passedKeyExpiry { passedKeyExpiries[passed.keyID] = passed.expiry }
            guard let record = item.withoutRights(circumstances), let keyID = record.keyID else { continue }
            withoutRights[keyID] = record
        }
    }

    /// Plans one configured client.
    mutating func place(_ settings: ClientSettings, section: String?) {
        let item = known.removeValue(forKey: settings.name)
        if let record = item?.withoutRights(circumstances), let keyID = record.keyID, keyID != settings.keyID {
            formerKeys.append(record.ofFormerKey(keyID))
        }
        switch item {
        case .removed(var record):
            // Of the section that is left out now, whatever key it had before.
            if record.keyID != settings.keyID {
                record.keyID = settings.keyID
                changedRecords.append(record)
            }
            plan.absent.removed[settings.name] = record
            plan.notices.append(.stillRemoved(name: settings.name))
        case .serving(let entry):
            guard entry.configured != settings || entry.section != section else { return }
            var client = entry.client
            client.reconfigure(
                from: entry.configured, to: settings, firstCheckDelay: firstCheckDelay(settings), at: circumstances.now)
            if settings.keyID != entry.configured.keyID { takeOverKey(of: settings, &client) }
            serve(client, settings, section, entry.objectPath)
        case .saved(let record), .leftOut(let record):
            var client = restored(record, settings)
            if record.until != nil && client.status == .disabled {
                plan.notices.append(.disabledMeanwhile(name: settings.name))
            }
            if settings.keyID != record.keyID { takeOverKey(of: settings, &client) }
            serve(client, settings, section, record.objectPath)
        case .departed(let record):
            serve(restored(record, settings), settings, section, record.objectPath)
            plan.notices.append(.stillDisabled(name: settings.name))
        case nil:
            if let record = settings.keyID.flatMap({ withoutRights[$0] }), !existing.contains(record.name) {
                // Renamed.
                plan.notices.append(.stillDisabled(name: settings.name))
                return serve(restored(record, settings), settings, section)
            }
            var client = Client(settings, firstCheckDelay: firstCheckDelay(settings), at: circumstances.now)
            takeOverKey(of: settings, &client)
            serve(client, settings, section)
        }
    }

    /// Disables a client, or denies its requests, if that was done to another client with its key: it goes with the key. The
    /// other client, if there still is one, keeps its settings and its record.
    private mutating func takeOverKey(of settings: ClientSettings, _ client: inout Client) {
        guard let keyID = settings.keyID else { return }
        client.takeOverKey(passedExpiry: passedKeyExpiries[keyID])
        if let end = denials[keyID] { client.deny(until: end) }
        guard let record = withoutRights[keyID], record.name != settings.name else { return }
        if client.status != .disabled { plan.notices.append(.stillDisabled(name: settings.name)) }
        client.disable()
    }

    /// Plans the clients that have left the configuration, and the records to save.
    mutating func finish() -> RosterPlan {
        for (name, item) in known {
            if case .leftOut(let record) = item {
                plan.absent.leftOut[name] = record
                continue
            }
            if case .serving = item { plan.leaving.append(name) }
            let record = item.withoutRights(circumstances)
            // A removed client is remembered only while the files have it, and one whose key is another client's now is
            // remembered in that.
            if let record, !record.isRemoved, !(record.keyID.map { configuredKeys.contains($0) } ?? false) {
                plan.absent.departed[name] = record
            } else {
                formerNames.append(name)
            }
        }
        for record in formerKeys where !(record.keyID.map { configuredKeys.contains($0) } ?? false) {
            plan.absent.departed[record.name] = record
        }
        plan.records = plan.entries.map { $0.record(circumstances) }
        plan.records += Array(plan.absent.departed.values) + changedRecords
        // Names are compared byte for byte, as in a database. A name under which a record is written stays.
        let written = formerNames.isEmpty ? [] : Set(plan.records.map { Array($0.name.utf8) })
        plan.forgotten = formerNames.filter { !written.contains(Array($0.utf8)) }
        return plan
    }

    private mutating func restored(_ record: ClientRecord, _ settings: ClientSettings) -> Client {
        if !record.name.utf8.elementsEqual(settings.name.utf8) { formerNames.append(record.name) }
        return Client.restored(
            settings, from: record, firstCheckDelay: firstCheckDelay(settings), bootID: circumstances.bootID,
            at: circumstances.now)
    }

    private mutating func serve(
        _ client: Client, _ settings: ClientSettings, _ section: String?, _ objectPath: String? = nil
    ) {
        plan.entries.append(
            Roster.Entry(client, configured: settings, section: section, objectPath: objectPath))
    }

    private func firstCheckDelay(_ settings: ClientSettings) -> TimeSpan { circumstances.jitter(settings.interval) }
}

extension ClientRecord {
    /// Whether the client is disabled, or its lease has ended and its last checker gives it no other.
    fileprivate func isOver(bootID: BootID, at now: Moment) -> Bool {
        guard let until else { return true }
        return until.remaining(bootID: bootID, at: now) <= .zero && lastCheckerStatus?.isSuccess != true
    }

    /// What is remembered of the key of a disabled client that has another key now: nothing but that it is disabled.
    fileprivate func ofFormerKey(_ keyID: KeyID) -> ClientRecord {
        let digits = String(describing: keyID).prefix(Self.shownDigits)
        return ClientRecord(
            name: "\(name), formerly with key \(digits)", until: nil, wasEnabledInFile: true, created: created,
            lastEnabled: nil, lastCheckedOK: nil, lastCheckerStatus: nil, lastApprovalRequest: nil,
            overrides: SettingOverrides(), keyID: keyID)
    }

    /// Enough to tell keys apart.
    private static let shownDigits = 16
}
