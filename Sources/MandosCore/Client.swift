import MandosFormats

/// One client: what its section says of it, and what has become of it since.
public struct Client: Sendable {
    public enum Status: Equatable, Sendable {
        case disabled
        /// From this moment on it counts as disabled.
        case enabled(until: BootTime)
    }

    /// What an operator last answered, and how long the answer holds.
    public enum Approval: Equatable, Sendable {
        case none
        case granted(until: BootTime)
        case denied(until: BootTime)
    }

    public let settings: ClientSettings
    public private(set) var status: Status
    public private(set) var approval = Approval.none

    public init(_ settings: ClientSettings, at now: BootTime) {
        self.settings = settings
        status = settings.enabled ? .enabled(until: now + settings.timeout) : .disabled
    }

    /// A secret that was sent whole counts as life, for `extended_timeout`.
    ///
    /// It never shortens what a check has already given, and never enables a disabled client.
    public mutating func secretWasSent(at now: BootTime) {
        guard case .enabled(let until) = status, now < until else { return }
        status = .enabled(until: max(until, now + settings.extendedTimeout))
    }

    /// Records an operator's answer to the requests that wait now or come within `approval_duration`.
    public mutating func answer(approved: Bool, at now: BootTime) {
        let until = now + settings.approvalDuration
        approval = approved ? .granted(until: until) : .denied(until: until)
    }
}
