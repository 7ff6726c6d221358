public import MandosFormats

/// One client: what its section says of it, and what has become of it since.
///
/// A value without clock or timer: every change is told the time, and ``nextDeadline`` says when to look again.
/// Source: mandos(8), CHECKING and APPROVAL.
public struct Client: Equatable, Sendable {
    public enum Status: Equatable, Sendable {
        case disabled
        case enabled(Lease)
    }

    /// What an operator last answered, and how long the answer holds.
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

    /// A client that is new in the configuration. `firstCheckDelay` is a random part of the interval, so that not all
    /// clients of a server are checked at once.
    public init(_ settings: ClientSettings, firstCheckDelay: TimeSpan, at now: Moment) {
        self.settings = settings
        created = now.wall
        status = .disabled
        if settings.enabled { enable(firstCheckDelay: firstCheckDelay, at: now) }
    }

    init(
        settings: ClientSettings, status: Status, created: Timestamp, lastEnabled: Timestamp?,
        lastCheckedOK: Timestamp?, lastCheckerStatus: TerminationStatus?, lastApprovalRequest: Timestamp?
    ) {
        self.settings = settings
        self.status = status
        self.created = created
        self.lastEnabled = lastEnabled
        self.lastCheckedOK = lastCheckedOK
        self.lastCheckerStatus = lastCheckerStatus
        self.lastApprovalRequest = lastApprovalRequest
    }

    /// Whether it is enabled and its time is not over.
    public func isEnabled(at now: BootTime) -> Bool {
        guard case .enabled(let lease) = status else { return false }
        return now < lease.end(at: now, maximumGrace: settings.timeout)
    }

    /// Whether it is still marked enabled although its time is over: then it has to be disabled.
    public func hasExpired(at now: BootTime) -> Bool { status != .disabled && !isEnabled(at: now) }

    /// When something is to be done about it next: a check or its end. nil if only an event can change it.
    public var nextDeadline: BootTime? {
        guard case .enabled(let lease) = status else { return nil }
        return switch lease.check {
        case .scheduled(let due): min(due, lease.until)
        case .queued: lease.until + max(.zero, settings.timeout - lease.graceUsed)
        case .running: lease.until
        }
    }

    // MARK: Enabling and disabling

    /// Gives it a new life, of `timeout`, or until one interval after its first check if that is later.
    public mutating func enable(firstCheckDelay: TimeSpan, at now: Moment) {
        live(
            for: max(settings.timeout, firstCheckDelay + settings.interval), firstCheckDelay: firstCheckDelay,
            at: now.boot)
        lastEnabled = now.wall
    }

    /// Enables it for `span`.
    mutating func live(for span: TimeSpan, firstCheckDelay: TimeSpan, at now: BootTime) {
        status = .enabled(Lease(until: now + span, check: .scheduled(due: now + firstCheckDelay)))
    }

    /// From now on it gets nothing until somebody enables it again.
    public mutating func disable() {
        status = .disabled
        approval = .none
    }

    /// Changes settings; what they say of `enabled` is for the caller to act on.
    ///
    /// A changed `timeout` moves the end of its life by the difference. A shorter `interval` counts from now.
    public mutating func change(_ settings: ClientSettings, at now: BootTime) {
        let difference = settings.timeout - self.settings.timeout
        let isOver = hasExpired(at: now)
        self.settings = settings
        // What is over stays over.
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

    /// A check is due and waits for its turn. The waiting is our fault and does not count against the client.
    public mutating func queueCheck(at now: BootTime) {
        changeLease { lease in
            guard case .scheduled(let due) = lease.check else { return }
            lease.check = .queued(since: now, due: due)
        }
    }

    /// Somebody wants it checked now. A check that is under way is enough.
    public mutating func requestCheck(at now: BootTime) {
        changeLease { lease in
            if case .scheduled = lease.check { lease.check = .scheduled(due: now) }
        }
    }

    /// Its checker is to be killed; what comes of that is nothing.
    public mutating func abandonCheck(at now: BootTime) {
        let interval = settings.interval
        changeLease { lease in
            guard case .running(let due) = lease.check else { return }
            lease.check = .scheduled(due: due.next(every: interval, after: now))
        }
    }

    public var isBeingChecked: Bool {
        guard case .enabled(let lease) = status, case .running = lease.check else { return false }
        return true
    }

    /// Somebody knows that it is alive.
    public mutating func wasSeen(at now: Moment) {
        lastCheckedOK = now.wall
        let timeout = settings.timeout
        if isEnabled(at: now.boot) { changeLease { $0.prolong(until: now.boot + timeout) } }
    }

    /// How long its check has been waiting for its turn, if it is.
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

    /// A checker has ended. What came of a checker that we killed, or of a client disabled meanwhile, is nothing.
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

    /// A checker could not be started: the client is neither better nor worse off, and is checked at its next turn.
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

    // MARK: Requests

    /// A secret that was sent whole counts as life, for `extended_timeout`. It never enables a disabled client.
    public mutating func secretWasSent(at now: BootTime) {
        guard isEnabled(at: now) else { return }
        let extended = settings.extendedTimeout
        changeLease { $0.prolong(until: now + extended) }
    }

    /// Somebody has to approve a request of it.
    public mutating func approvalWasRequested(at now: Timestamp) { lastApprovalRequest = now }

    /// Records an operator's answer to the requests that wait now or come within `approval_duration`.
    public mutating func answer(approved: Bool, at now: BootTime) {
        answer(approved: approved, at: now, for: settings.approvalDuration)
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
