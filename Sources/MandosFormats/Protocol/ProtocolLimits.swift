/// Limits that hold on both sides of the protocol.
public enum ProtocolLimits {
    /// Maximum length of a secret, in bytes.
    public static let largestSecret = 16 << 20
}
