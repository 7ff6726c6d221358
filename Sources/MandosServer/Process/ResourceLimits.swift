import FoundationEssentials
import Glibc

/// The kernel's limits for this process.
public enum ResourceLimits {
    /// Raises the limit of open files to its maximum: each connection is one.
    ///
    /// - Returns: the number of files that can be opened in addition to those open now.
    public static func raiseOpenFiles() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        // A failure leaves the limit as it was, which is not fatal.
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return max(0, Int(clamping: limit.rlim_cur) - open)
    }
}
