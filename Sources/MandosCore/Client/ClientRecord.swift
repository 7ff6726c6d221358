public import MandosFormats

/// The kernel's random ID of one boot; times on the boot clock compare only within one boot.
public struct BootID: Hashable, Sendable {
    public let text: String

    public init(_ text: String) { self.text = text }
}

/// The saved state of a client, which survives restarts of the server and of the machine.
public struct ClientRecord: Equatable, Sendable {
    /// A deadline on both clocks: exact within one boot, as good as the wall clock after it.
    public struct Deadline: Equatable, Sendable {
        public let bootID: BootID
        public let boot: BootTime
        public let wall: Timestamp
        /// What the boot clock showed when this was saved; nil in databases of earlier versions.
        public let savedAt: BootTime?

        public init(bootID: BootID, boot: BootTime, wall: Timestamp, savedAt: BootTime? = nil) {
            self.bootID = bootID
            self.boot = boot
            self.wall = wall
            self.savedAt = savedAt
        }
    }

    public internal(set) var name: String
    /// nil if disabled.
    public internal(set) var until: Deadline?
    /// The value of `enabled` in clients.conf when this was saved: the file wins where it says otherwise now. True for a client
    /// that is absent, so that it comes back disabled, whatever the files say then.
    public internal(set) var wasEnabledInFile: Bool
    public let created: Timestamp
    public let lastEnabled: Timestamp?
    public let lastCheckedOK: Timestamp?
    public let lastCheckerStatus: TerminationStatus?
    public let lastApprovalRequest: Timestamp?
    public let overrides: SettingOverrides
    /// The end of a denial of requests; an approval is not saved.
    public var deniedUntil: Deadline?
    /// An operator removed the client: it is not served as long as the configuration files have it.
    public var isRemoved: Bool
    /// The section that defines the client, if an operator added it while the server was running.
    public var section: String?
    /// The key. That of a disabled client may come back under another name. Databases of earlier versions have it of disabled
    /// clients only.
    public internal(set) var keyID: KeyID?
    /// See ``Client/passedKeyExpiry``.
    public var passedKeyExpiry: Timestamp?
    /// The object path on D-Bus, if it does not follow from the name alone.
    public var objectPath: String?

    public init(
        name: String, until: Deadline?, wasEnabledInFile: Bool, created: Timestamp, lastEnabled: Timestamp?,
        lastCheckedOK: Timestamp?, lastCheckerStatus: TerminationStatus?, lastApprovalRequest: Timestamp?,
        overrides: SettingOverrides, deniedUntil: Deadline? = nil, isRemoved: Bool = false, section: String? = nil,
        keyID: KeyID? = nil, passedKeyExpiry: Timestamp? = nil, objectPath: String? = nil
    ) {
        self.name = name
        self.until = until
        self.wasEnabledInFile = wasEnabledInFile
        self.created = created
        self.lastEnabled = lastEnabled
        self.lastCheckedOK = lastCheckedOK
        self.lastCheckerStatus = lastCheckerStatus
        self.lastApprovalRequest = lastApprovalRequest
        self.overrides = overrides
        self.deniedUntil = deniedUntil
        self.isRemoved = isRemoved
        self.section = section
        self.keyID = keyID
        self.passedKeyExpiry = passedKeyExpiry
        self.objectPath = objectPath
    }
}

extension Client {
    /// The record to save; `configured` are the settings in the configuration file.
    public func record(configured: ClientSettings, bootID: BootID, at now: Moment) -> ClientRecord {
        func deadline(_ boot: BootTime) -> ClientRecord.Deadline {
            let wall = now.wall.millisecondsSince1970 + (boot - now.boot).milliseconds
            return .init(
                bootID: bootID, boot: boot, wall: Timestamp(millisecondsSince1970: wall), savedAt: now.boot)
        }
        var until: ClientRecord.Deadline?
        if case .enabled(let lease) = status {
            until = deadline(lease.end(at: now.boot, maximumGrace: settings.timeout))
        }
        var deniedUntil: ClientRecord.Deadline?
        if case .denied(let end) = approval, now.boot < end { deniedUntil = deadline(end) }
        return ClientRecord(
            name: settings.name, until: until, wasEnabledInFile: configured.enabled, created: created,
            lastEnabled: lastEnabled, lastCheckedOK: lastCheckedOK, lastCheckerStatus: lastCheckerStatus,
            lastApprovalRequest: lastApprovalRequest, overrides: SettingOverrides(of: settings, over: configured),
            deniedUntil: deniedUntil,
            keyID: settings.keyID, passedKeyExpiry: passedKeyExpiry)
    }

    /// Restores a client after a restart.
    ///
    /// Where the file has changed since, the file wins; otherwise the saved value does. It enables only a client that still has
    /// its key. A client whose lease ended meanwhile stays enabled, with a new lease, only if its last checker had succeeded.
    /// Source: mandos(8), PERSISTENT STATE.
    public static func restored(
        _ configured: ClientSettings, from record: ClientRecord, firstCheckDelay: TimeSpan, bootID: BootID,
        at now: Moment
    ) -> Client {
        let settings = record.overrides.applied(to: configured)
        var client = Client(
            settings: settings, status: .disabled, created: record.created, lastEnabled: record.lastEnabled,
            lastCheckedOK: record.lastCheckedOK, lastCheckerStatus: record.lastCheckerStatus,
            lastApprovalRequest: record.lastApprovalRequest, passedKeyExpiry: record.passedKeyExpiry)
        if let denied = record.deniedUntil, denied.remaining(bootID: bootID, at: now) > .zero {
            // However wrong the clock of another boot is, the denial does not last for ever.
            let remaining = denied.remaining(bootID: bootID, at: now)
            let isExact = denied.isOf(bootID, at: now)
            let span = isExact ? remaining : min(remaining, settings.approvalDuration)
            client.answer(approved: false, at: now.boot, for: span)
        }
        switch (record.wasEnabledInFile, configured.enabled) {
        case (true, false): return client
        case (false, true) where record.keyID == configured.keyID:
            client.enable(firstCheckDelay: firstCheckDelay, at: now)
            return client
        case (false, true), (true, true), (false, false): break
        }
        guard let until = record.until else { return client }
        let remaining = until.remaining(bootID: bootID, at: now)
        let isAlive = record.lastCheckerStatus?.isSuccess == true
        // However wrong the clock is, the client gets no more than it could have had before.
        var span = min(remaining, max(settings.timeout, settings.extendedTimeout))
        // A client that was alive gets the chance to be checked. For any other, restarting the server again and again
        // would put off the end of its lease for ever.
        if isAlive && span <= .zero { span = settings.timeout }
        if isAlive { span = max(span, firstCheckDelay + settings.interval) }
        if span > .zero { client.enable(for: span, firstCheckDelay: firstCheckDelay, at: now.boot) }
        return client
    }
}

extension Client {
    /// Replaces the configured settings `old` by `new`, with the same merge as at a restart.
    public mutating func reconfigure(
        from old: ClientSettings, to new: ClientSettings, firstCheckDelay: TimeSpan, at now: Moment
    ) {
        guard old != new else { return }
        change(SettingOverrides(of: settings, over: old).applied(to: new), at: now.boot)
        switch (old.enabled, new.enabled) {
        case (true, false): disable()
        case (false, true) where old.keyID == new.keyID && !isEnabled(at: now.boot):
            enable(firstCheckDelay: firstCheckDelay, at: now)
        case (false, true), (true, true), (false, false): break
        }
    }
}

extension ClientRecord.Deadline {
    /// Whether it was saved in this boot: the boot clock never goes back, so one that is lower is another boot's, whatever the ID
    /// says.
    func isOf(_ bootID: BootID, at now: Moment) -> Bool {
        bootID == self.bootID && savedAt.map { $0 <= now.boot } ?? true
    }

    /// The time until the deadline; zero or negative if it has passed.
    func remaining(bootID: BootID, at now: Moment) -> TimeSpan {
        if isOf(bootID, at: now) { return boot - now.boot }
        return TimeSpan(milliseconds: wall.millisecondsSince1970 - now.wall.millisecondsSince1970)
    }
}
