public import MandosFormats

/// Which boot of the machine a time on its boot clock belongs to: the kernel's random boot ID.
public struct BootID: Hashable, Sendable {
    public let text: String

    public init(_ text: String) { self.text = text }
}

/// What is kept of a client on disk, so that it survives the server, and the machine.
public struct ClientRecord: Equatable, Sendable {
    /// A deadline in both clocks: exact within one boot, as good as the wall clock after it.
    public struct Deadline: Equatable, Sendable {
        public let bootID: BootID
        public let boot: BootTime
        public let wall: Timestamp

        public init(bootID: BootID, boot: BootTime, wall: Timestamp) {
            self.bootID = bootID
            self.boot = boot
            self.wall = wall
        }
    }

    public let name: String
    /// nil if disabled.
    public let until: Deadline?
    /// What clients.conf said of `enabled` then.
    public let wasEnabledInFile: Bool
    public let created: Timestamp
    public let lastEnabled: Timestamp?
    public let lastCheckedOK: Timestamp?
    public let lastCheckerStatus: TerminationStatus?
    public let lastApprovalRequest: Timestamp?
    public let overrides: SettingOverrides
    /// Until when its requests are denied; an approval is not kept.
    public var deniedUntil: Deadline?
    /// An operator removed it; it stays away as long as it is in the configuration files.
    public var isRemoved: Bool
    /// The section that it consists of, if an operator added it while the server ran.
    public var section: String?
    /// Of a disabled client: who it is, should it come back under another name.
    public let keyID: KeyID?

    public init(
        name: String, until: Deadline?, wasEnabledInFile: Bool, created: Timestamp, lastEnabled: Timestamp?,
        lastCheckedOK: Timestamp?, lastCheckerStatus: TerminationStatus?, lastApprovalRequest: Timestamp?,
        overrides: SettingOverrides, deniedUntil: Deadline? = nil, isRemoved: Bool = false, section: String? = nil,
        keyID: KeyID? = nil
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
    }
}

extension Client {
    /// What to keep of the client; `configured` is what the configuration file says of it.
    public func record(configured: ClientSettings, bootID: BootID, at now: Moment) -> ClientRecord {
        func deadline(_ boot: BootTime) -> ClientRecord.Deadline {
            let wall = now.wall.millisecondsSince1970 + (boot - now.boot).milliseconds
            return .init(bootID: bootID, boot: boot, wall: Timestamp(millisecondsSince1970: wall))
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
            keyID: until == nil ? settings.keyID : nil)
    }

    /// The client as it goes on after a restart.
    ///
    /// Where the file has changed since, the file wins; else what was saved does. A client whose time ran out
    /// meanwhile stays enabled, with a new life, only if its last checker had succeeded.
    /// Source: mandos(8), PERSISTENT STATE.
    public static func restored(
        _ configured: ClientSettings, from record: ClientRecord, firstCheckDelay: TimeSpan, bootID: BootID,
        at now: Moment
    ) -> Client {
        let settings = record.overrides.applied(to: configured)
        var client = Client(
            settings: settings, status: .disabled, created: record.created, lastEnabled: record.lastEnabled,
            lastCheckedOK: record.lastCheckedOK, lastCheckerStatus: record.lastCheckerStatus,
            lastApprovalRequest: record.lastApprovalRequest)
        if let denied = record.deniedUntil?.remaining(bootID: bootID, at: now), denied > .zero {
            client.answer(approved: false, at: now.boot, for: min(denied, settings.approvalDuration))
        }
        if configured.enabled != record.wasEnabledInFile {
            if configured.enabled { client.enable(firstCheckDelay: firstCheckDelay, at: now) }
            return client
        }
        guard let until = record.until else { return client }
        let remaining = until.remaining(bootID: bootID, at: now)
        let isAlive = record.lastCheckerStatus?.isSuccess == true
        // No clock, however wrong, makes more of what is left than the client could have been given.
        var span = min(remaining, max(settings.timeout, settings.extendedTimeout))
        // One that was alive gets the chance to be checked. For one that was not, a server that is started again and
        // again would otherwise put its end off for ever.
        if isAlive && span <= .zero { span = settings.timeout }
        if isAlive { span = max(span, firstCheckDelay + settings.interval) }
        if span > .zero { client.live(for: span, firstCheckDelay: firstCheckDelay, at: now.boot) }
        return client
    }
}

extension Client {
    /// Takes over what the configuration file says now, where it said `old` before: the same merge as at a restart.
    public mutating func reconfigure(
        from old: ClientSettings, to new: ClientSettings, firstCheckDelay: TimeSpan, at now: Moment
    ) {
        guard old != new else { return }
        change(SettingOverrides(of: settings, over: old).applied(to: new), at: now.boot)
        guard old.enabled != new.enabled else { return }
        if !new.enabled {
            disable()
        } else if !isEnabled(at: now.boot) {
            enable(firstCheckDelay: firstCheckDelay, at: now)
        }
    }
}

extension ClientRecord.Deadline {
    /// How long until then; not more than nothing if it has passed.
    func remaining(bootID: BootID, at now: Moment) -> TimeSpan {
        if bootID == self.bootID { return boot - now.boot }
        return TimeSpan(milliseconds: wall.millisecondsSince1970 - now.wall.millisecondsSince1970)
    }
}
