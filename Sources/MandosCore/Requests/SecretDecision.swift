public import MandosFormats

/// The answer to a client that asks for its secret.
public enum SecretDecision: Equatable, Sendable {
    case release(Secret)
    /// Decide again at this time, or earlier if an operator answers or the client changes.
    case awaitApproval(until: BootTime)
    case refuse(Refusal)
}

extension Client {
    /// Maximum number of requests of one client that may wait for approval at the same time.
    public static let maximumWaitingRequests = 64

    /// Whether the client gets its secret now. This is the only way a secret leaves the core.
    ///
    /// - Parameters:
    ///   - since: When the request came.
    ///   - answer: What an operator answered while this request was waiting; nil if nobody has answered it.
    ///   - otherWaitingRequests: How many requests of this client wait for approval already, without this one.
    ///
    /// Source: mandos(8), APPROVAL; mandos-clients.conf(5) `approval_delay`, `approval_duration`,
    /// `approved_by_default`, `enabled`, `timeout`.
    public func secretDecision(
        requestedAt since: BootTime, answer: Bool? = nil, otherWaitingRequests: Int = 0, at now: Moment
    ) -> SecretDecision {
        guard isEnabled(at: now.boot) else { return .refuse(.disabled) }
        if hasKeyExpired(at: now.wall) { return .refuse(.keyExpired) }
        // The answer is for this very request, however long it takes until the request is decided again.
        if let answer { return answer ? .release(settings.secret) : .refuse(.denied) }
        if settings.approvalDelay == .zero { return .release(settings.secret) }
        switch approval {
        case .granted(let until) where now.boot < until: return .release(settings.secret)
        case .denied(let until) where now.boot < until: return .refuse(.denied)
        case .none, .granted, .denied: break
        }
        let deadline = since + settings.approvalDelay
        guard now.boot < deadline else {
            return settings.approvedByDefault ? .release(settings.secret) : .refuse(.approvalTimedOut)
        }
        guard otherWaitingRequests < Self.maximumWaitingRequests else { return .refuse(.tooManyRequests) }
        return .awaitApproval(until: deadline)
    }
}
