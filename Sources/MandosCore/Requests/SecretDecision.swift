public import MandosFormats

/// Why a client does not get its secret.
public enum Refusal: String, Error, CaseIterable, Sendable {
    case unknownKey = "no client has this key ID"
    case disabled = "client is disabled"
    case keyExpired = "the client's key has expired"
    case denied = "an operator denied it"
    case tooManyRequests = "too many of its requests wait for approval"
    case approvalTimedOut = "nobody approved it in time"
}

/// The answer to a client that asks for its secret.
public enum SecretDecision: Equatable, Sendable {
    case release(Secret)
    /// Ask again at this moment, or when an operator answers or the client changes.
    case awaitApproval(until: BootTime)
    case refuse(Refusal)
}

extension Client {
    /// Whether the client gets its secret now. This is the only way a secret leaves the core.
    ///
    /// `waitingSince` is when the client asked.
    /// Source: mandos(8), APPROVAL; mandos-clients.conf(5) `approval_delay`, `approval_duration`,
    /// `approved_by_default`, `enabled`, `timeout`.
    public func secretDecision(waitingSince: BootTime, at now: Moment) -> SecretDecision {
        guard isEnabled(at: now.boot) else { return .refuse(.disabled) }
        if let expiry = settings.keyExpires, expiry <= now.wall { return .refuse(.keyExpired) }
        if settings.approvalDelay == .zero { return .release(settings.secret) }
        switch approval {
        case .granted(let until) where now.boot < until: return .release(settings.secret)
        case .denied(let until) where now.boot < until: return .refuse(.denied)
        case .none, .granted, .denied: break
        }
        let deadline = waitingSince + settings.approvalDelay
        if now.boot < deadline { return .awaitApproval(until: deadline) }
        return settings.approvedByDefault ? .release(settings.secret) : .refuse(.approvalTimedOut)
    }
}
