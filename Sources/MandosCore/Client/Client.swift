public import MandosFormats

/// One client: its settings, and its state.
///
/// A value without clock or timer: every method gets the time, and ``nextDeadline`` says when to look again.
/// Source: mandos(8), CHECKING and APPROVAL.
public struct Client: Equatable, Sendable {
    public enum Status: Equatable, Sendable {
        case disabled
        case enabled(Lease)
    }

    /// An operator's last answer to requests, and how long it holds.
    public enum Approval: Equatable, Sendable {
        case none
        case granted(until: BootTime)
        case denied(until: BootTime)
    }

    public private(set) var settings: ClientSettings
    public private(set) var status: Status
    public private(set) var approval = Approval.none
    public let created: Timestamp
    public private(set) var lastEnabled: Timestamp?
    public private(set) var lastCheckedOK: Timestamp?
    /// nil until the first checker has ended.
    public private(set) var lastCheckerStatus: TerminationStatus?
    public private(set) var lastApprovalRequest: Timestamp?
    /// The `key_expires` that has passed once: a clock that is set back does not make the key valid again.
    public private(set) var passedKeyExpiry: Timestamp?

    /// Makes a client that is new in the configuration.
    ///
    /// `firstCheckDelay` is a random part of the interval, so that not all clients are checked at the same time.
    public init(_ settings: ClientSettings, firstCheckDelay: TimeSpan, at now: Moment) {
        self.settings = settings
        created = now.wall
        status = .disabled
        if settings.enabled { enable(firstCheckDelay: firstCheckDelay, at: now) }
    }

    init(
        settings: ClientSettings, status: Status, created: Timestamp, lastEnabled: Timestamp?,
        lastCheckedOK: Timestamp?, lastCheckerStatus: TerminationStatus?, lastApprovalRequest: Timestamp?,
        passedKeyExpiry: Timestamp?
    ) {
        self.settings = settings
        self.status = status
        self.created = created
        self.lastEnabled = lastEnabled
        self.lastCheckedOK = lastCheckedOK
        self.lastCheckerStatus = lastCheckerStatus
        self.lastApprovalRequest = lastApprovalRequest
        self.passedKeyExpiry = passedKeyExpiry
    }

    /// Whether the client is enabled and its lease has not ended.
    public func isEnabled(at now: BootTime) -> Bool { leaseEnd(at: now).map { now < $0 } ?? false }

    /// The end of the lease as seen at `now`; nil if the client is disabled.
    public func leaseEnd(at now: BootTime) -> BootTime? {
        guard case .enabled(let lease) = status else { return nil }
        return lease.end(at: now, maximumGrace: settings.timeout)
    }

    /// Whether the lease has ended although the client is still marked enabled: the caller has to disable it.
    public func hasExpired(at now: BootTime) -> Bool { status != .disabled && !isEnabled(at: now) }

    /// When the next check or the end of the lease is due; nil if the client is disabled.
    public var nextDeadline: BootTime? {
        guard case .enabled(let lease) = status else { return nil }
        return switch lease.check {
        case .scheduled(let due): min(due, lease.until)
        case .queued: lease.until + max(.zero, settings.timeout - lease.graceUsed)
        case .running: lease.until
        }
    }

    // MARK: Enabling and disabling

    /// Gives the client a new lease, of `timeout`, or until one interval after its first check if that is later.
    public mutating func enable(firstCheckDelay: TimeSpan, at now: Moment) {
        enable(
            for: max(settings.timeout, firstCheckDelay + settings.interval), firstCheckDelay: firstCheckDelay,
            at: now.boot)
        lastEnabled = now.wall
    }

    /// Enables the client for `span`.
    mutating func enable(for span: TimeSpan, firstCheckDelay: TimeSpan, at now: BootTime) {
        status = .enabled(Lease(until: now + span, check: .scheduled(due: now + firstCheckDelay)))
    }

    /// Disables the client; only ``enable(firstCheckDelay:at:)`` undoes that. A denial goes on.
    public mutating func disable() {
        status = .disabled
        if case .granted = approval { approval = .none }
    }

    /// Changes the settings, except for `enabled`, which the caller acts on.
    ///
    /// A changed `timeout` moves the end of the lease by the difference. A shorter `interval` counts from now. An approval was
    /// for the key that the client had.
    public mutating func change(_ settings: ClientSettings, at now: BootTime) {
        if settings.keyID != self.settings.keyID, case .granted = approval { approval = .none }
        let difference = settings.timeout - self.settings.timeout
        let isOver = hasExpired(at: now)
        self.settings = settings
        // A lease that has ended stays ended.
        if isOver { return }
        changeLease { lease in
            lease.until = lease.until + difference
            if case .scheduled(let due) = lease.check {
                lease.check = .scheduled(due: min(due, now + settings.interval))
            }
        }
    }

    // MARK: Checking

    /// Whether a checker has to be started now.
    public func isCheckDue(at now: BootTime) -> Bool {
        guard case .enabled(let lease) = status, case .scheduled(let due) = lease.check else { return false }
        return due <= now
    }

    /// Queues a check that is due. Waiting in the queue is not the client's fault and prolongs its lease.
    public mutating func queueCheck(at now: BootTime) {
        changeLease { lease in
            guard case .scheduled(let due) = lease.check else { return }
            lease.check = .queued(since: now, due: due)
        }
    }

    /// Makes the next check due now. A check that is queued or running is enough.
    public mutating func requestCheck(at now: BootTime) {
        changeLease { lease in
            if case .scheduled = lease.check { lease.check = .scheduled(due: now) }
        }
    }

    /// The checker will be killed; its result is ignored.
    public mutating func abandonCheck(at now: BootTime) {
        let interval = settings.interval
        changeLease { lease in
            guard case .running(let due) = lease.check else { return }
            lease.check = .scheduled(due: due.next(every: interval, after: now))
        }
    }

    /// Has a check that is queued or running made again, now: the client has another name, and its checker is killed.
    mutating func restartCheck(at now: BootTime) {
        guard case .enabled(let lease) = status else { return }
        if case .scheduled = lease.check { return }
        checkFailedToStart(at: now)
        requestCheck(at: now)
    }

    public var isBeingChecked: Bool {
        guard case .enabled(let lease) = status, case .running = lease.check else { return false }
        return true
    }

    /// Records that an operator knows the client to be alive.
    public mutating func wasSeen(at now: Moment) {
        lastCheckedOK = now.wall
        let timeout = settings.timeout
        if isEnabled(at: now.boot) { changeLease { $0.prolong(until: now.boot + timeout) } }
    }

    /// How long the check has been queued; nil if it is not.
    public func queueDelay(at now: BootTime) -> TimeSpan? {
        guard case .enabled(let lease) = status, case .queued(let since, _) = lease.check else { return nil }
        return now - since
    }

    public mutating func checkStarted(at now: BootTime) {
        let grace = settings.timeout
        changeLease { lease in
            guard case .queued(_, let due) = lease.check else { return }
            lease.leaveQueue(at: now, maximumGrace: grace)
            lease.check = .running(due: due)
        }
    }

    /// Records the result of a checker. It is ignored if the check was abandoned or the client disabled meanwhile.
    public mutating func checkEnded(_ ending: TerminationStatus, at now: Moment) {
        guard isEnabled(at: now.boot), case .enabled(var lease) = status, case .running(let due) = lease.check else {
            return
        }
        lastCheckerStatus = ending
        if ending.isSuccess {
            lastCheckedOK = now.wall
            lease.prolong(until: now.boot + settings.timeout)
        }
        lease.check = .scheduled(due: due.next(every: settings.interval, after: now.boot))
        status = .enabled(lease)
    }

    /// Schedules another check, since a checker that could not be started says nothing about the client.
    public mutating func checkFailedToStart(at now: BootTime) {
        let interval = settings.interval
        let grace = settings.timeout
        changeLease { lease in
            switch lease.check {
            case .scheduled: return
            case .queued(_, let due), .running(let due):
                lease.leaveQueue(at: now, maximumGrace: grace)
                lease.check = .scheduled(due: due.next(every: interval, after: now))
            }
        }
    }

    /// Ends the lease at `end`, unless it ends earlier.
    mutating func limitLease(to end: BootTime) { changeLease { $0.until = min($0.until, end) } }

    // MARK: Requests

    /// Renews the lease for `extended_timeout` after all of the secret was sent. Never enables a disabled client.
    public mutating func secretWasSent(at now: BootTime) {
        guard isEnabled(at: now) else { return }
        let extended = settings.extendedTimeout
        changeLease { $0.prolong(until: now + extended) }
    }

    /// Whether the time of the client's key is over, now or as noticed before.
    public func hasKeyExpired(at now: Timestamp) -> Bool {
        guard let expiry = settings.keyExpires else { return false }
        return expiry <= now || expiry == passedKeyExpiry
    }

    /// Records it if the time of the client's key is over.
    public mutating func noticeKeyExpiry(at now: Timestamp) {
        if hasKeyExpired(at: now) { passedKeyExpiry = settings.keyExpires }
    }

    /// When to notice the end of the key's time; nil if it has none, or that was noticed.
    public func keyExpiryDue(at now: Moment) -> BootTime? {
        guard let expiry = settings.keyExpires, expiry != passedKeyExpiry else { return nil }
        return now.boot
            + max(.zero, TimeSpan(milliseconds: expiry.millisecondsSince1970 - now.wall.millisecondsSince1970))
    }

    /// Takes over what was noticed about the client's key, which was another client's.
    mutating func takeOverKey(passedExpiry: Timestamp?) { passedKeyExpiry = passedExpiry }

    /// Records that a request of the client waits for approval.
    public mutating func approvalWasRequested(at now: Timestamp) { lastApprovalRequest = now }

    /// Records an operator's answer to the requests that wait now or come within `approval_duration`.
    public mutating func answer(approved: Bool, at now: BootTime) {
        answer(approved: approved, at: now, for: settings.approvalDuration)
    }

    /// Denies requests until `end`, or longer if that was decided before.
    mutating func deny(until end: BootTime) {
        if case .denied(let until) = approval, until >= end { return }
        approval = .denied(until: end)
    }

    mutating func answer(approved: Bool, at now: BootTime, for span: TimeSpan) {
        let until = now + span
        approval = approved ? .granted(until: until) : .denied(until: until)
    }

    private mutating func changeLease(_ change: (inout Lease) -> Void) {
        guard case .enabled(var lease) = status else { return }
        change(&lease)
        status = .enabled(lease)
    }
}
