/// Why a client does not get its secret.
public enum Refusal: String, CaseIterable, Sendable {
    case unknownKey = "no client has this key ID"
    case disabled = "client is disabled"
    case keyExpired = "the client's key has expired"
    case denied = "an operator denied it"
    case tooManyRequests = "too many of its requests wait for approval"
    case approvalTimedOut = "nobody approved it in time"
}
