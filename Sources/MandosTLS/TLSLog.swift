import CGnuTLS

/// What GnuTLS reports of its own work.
public enum TLSLog {
    /// Messages of the handshake; from level 9 on, GnuTLS reports keys. Source: gnutls_global_set_log_level(3).
    private static let level: Int32 = 4

    /// Has `write` called with a level and each line.
    public static func begin(_ write: @escaping @convention(c) (Int32, UnsafePointer<CChar>?) -> Void) {
        unsafe gnutls_global_set_log_function(write)
        gnutls_global_set_log_level(level)
    }
}
