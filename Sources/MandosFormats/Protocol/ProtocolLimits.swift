/// Limits that both sides of the protocol agree on.
public enum ProtocolLimits {
    /// No secret may be longer, in bytes.
    public static let largestSecret = 16 << 20
}
