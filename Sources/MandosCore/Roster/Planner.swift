import MandosFormats

/// Makes a plan, client by client.
struct Planner {
    let circumstances: Roster.Circumstances
    /// Clients that are not planned yet; those left after the configured clients have left the configuration.
    private var known: [String: RosterPlan.Known]
    private var plan = RosterPlan()
    /// Clients whose keys come to other names, by key: what they lost goes with the key.
    private let moving: [KeyID: [RosterPlan.Known]]
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
        self.circumstances = circumstances
        plan.misfits = added.misfits
        for (name, _) in added.misfits {
            guard case .saved(let record)? = self.known[name] else { continue }
            // A client that does not fit now may fit later. If it is disabled, it is absent like others that are.
            let disabled = RosterPlan.Known.saved(record).withoutRights(circumstances)
            self.known[name] = .leftOut(disabled ?? record)
            if let disabled, disabled != record { changedRecords.append(disabled) }
        }
        moving = Self.moving(self.known, configured, added)
    }

    private static func moving(
        _ known: [String: RosterPlan.Known], _ configured: [ClientSettings], _ added: AddedClients
    ) -> [KeyID: [RosterPlan.Known]] {
        if known.isEmpty { return [:] }
        var keys: Set<KeyID> = []
        for clients in [configured, added.clients] {
            for client in clients {
                if let keyID = client.keyID, known[client.name]?.keyID != keyID { keys.insert(keyID) }
            }
        }
        // An added client may have been hidden behind one of the files with its key, which is gone now.
        let addedKeys = Set(added.clients.compactMap(\.keyID))
        if keys.isEmpty && addedKeys.isEmpty { return [:] }
        var moving: [KeyID: [RosterPlan.Known]] = [:]
        for item in known.values {
            guard let keyID = item.keyID else { continue }
            if keys.contains(keyID) || (addedKeys.contains(keyID) && !item.isAdded) {
                moving[keyID, default: []].append(item)
            }
        }
        return moving
    }

    /// Plans one configured client.
    mutating func place(_ settings: ClientSettings, section: String?) {
        let item = known.removeValue(forKey: settings.name)
        if let keyID = item?.keyID, keyID != settings.keyID, let record = item?.withoutRights(circumstances) {
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
            if settings.keyID != entry.configured.keyID {
                noticeStillDisabled(client, wasEnabledInFile: entry.configured.enabled)
                takeOverKey(of: settings, from: others(settings), &client)
            }
            serve(client, settings, section, entry.objectPath)
        case .saved(let record), .leftOut(let record):
            var client = restored(record, settings)
            if record.until != nil && client.status == .disabled {
                plan.notices.append(.disabledMeanwhile(name: settings.name))
            }
            let keepsKey = settings.keyID == record.keyID
            if !keepsKey { noticeStillDisabled(client, wasEnabledInFile: record.wasEnabledInFile) }
            if !keepsKey || section != nil {
                takeOverKey(of: settings, from: others(settings), &client, keepsKey: keepsKey)
            }
            serve(client, settings, section, record.objectPath)
        case .departed(let record):
            var client = restored(RosterPlan.Known.departed(record).recordOfReturn(circumstances), settings)
            if settings.keyID != record.keyID { takeOverKey(of: settings, from: others(settings), &client) }
            serve(client, settings, section, record.objectPath)
            plan.notices.append(.stillDisabled(name: settings.name))
        case nil: placeNew(settings, section)
        }
    }

    /// Plans a client whose name is new. It goes on as the client that had its key under a name that is gone.
    private mutating func placeNew(_ settings: ClientSettings, _ section: String?) {
        let others = others(settings)
        let leaving = others.filter { !existing.contains($0.name) }
        let former = leaving.first { !$0.hasRights(circumstances) } ?? leaving.first
        var client: Client
        switch former {
        case nil: client = Client(settings, firstCheckDelay: firstCheckDelay(settings), at: circumstances.now)
        case .serving(let entry)? where entry.client.isEnabled(at: circumstances.now.boot):
            client = entry.client
            client.reconfigure(
                from: entry.configured, to: settings, firstCheckDelay: firstCheckDelay(settings), at: circumstances.now)
            client.restartCheck(at: circumstances.now.boot)
            // An operator may have enabled it although its file had said no; this is another section.
            if !settings.enabled { client.disable() }
        case let former?:
            let record = former.recordOfReturn(circumstances)
            if record.until == nil { plan.notices.append(.stillDisabled(name: settings.name)) }
            client = restored(record, settings)
        }
        takeOverKey(
            of: settings, from: others.filter { $0.name != former?.name }, &client, keepsKey: former != nil)
        serve(client, settings, section)
    }

    /// The clients that have or had the key of `settings` under other names.
    private func others(_ settings: ClientSettings) -> [RosterPlan.Known] {
        settings.keyID.flatMap { moving[$0] }?.filter { $0.name != settings.name } ?? []
    }

    /// Tells that a file which enables the client now does not, since that is about another key.
    private mutating func noticeStillDisabled(_ client: Client, wasEnabledInFile: Bool) {
        guard !wasEnabledInFile, client.settings.enabled, client.status == .disabled else { return }
        plan.notices.append(.stillDisabled(name: client.settings.name))
    }

    /// Takes over what `others` lost, with whom the client shares its key: it goes with the key, and so does the end of their
    /// time. Those that still exist keep their settings and their records.
    ///
    /// - Parameter keepsKey: Whether what was noticed about the client's key before is about this key.
    private mutating func takeOverKey(
        of settings: ClientSettings, from others: [RosterPlan.Known], _ client: inout Client, keepsKey: Bool = false
    ) {
        let passed =
            others.compactMap(\.passedKeyExpiry) + (keepsKey ? [client.passedKeyExpiry].compactMap(\.self) : [])
        client.takeOverKey(passedExpiry: passed.first { $0 == settings.keyExpires } ?? passed.last)
        if let end = others.compactMap({ $0.denial(circumstances) }).max() { client.deny(until: end) }
        for other in others {
            if let end = leaseEnd(of: other, settings) { client.limitLease(to: end) }
        }
        if others.allSatisfy({ $0.hasRights(circumstances) }) { return }
        if client.status != .disabled { plan.notices.append(.stillDisabled(name: settings.name)) }
        client.disable()
    }

    /// When the lease of a client ends; nil if it has none. That of a client that was left out says nothing: nobody checked it.
    private func leaseEnd(of known: RosterPlan.Known, _ settings: ClientSettings) -> BootTime? {
        switch known {
        case .serving(let entry): entry.client.leaseEnd(at: circumstances.now.boot)
        case .saved:
            Client.restored(
                settings, from: known.recordOfReturn(circumstances), firstCheckDelay: firstCheckDelay(settings),
                bootID: circumstances.bootID, at: circumstances.now
            ).leaseEnd(at: circumstances.now.boot)
        case .leftOut, .departed, .removed: nil
        }
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

extension RosterPlan.Known {
    /// Whether an operator added the client.
    fileprivate var isAdded: Bool {
        switch self {
        case .serving(let entry): entry.section != nil
        case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record):
            record.section != nil
        }
    }
}

extension ClientRecord {
    /// Disables the client until an operator enables it, whatever the files say.
    mutating func disableForGood() {
        until = nil
        wasEnabledInFile = true
    }

    /// Whether the client is disabled, or its lease has ended and its last checker gives it no other.
    func isOver(bootID: BootID, at now: Moment) -> Bool {
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
