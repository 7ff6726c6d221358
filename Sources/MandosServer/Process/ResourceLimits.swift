import FoundationEssentials
import Glibc

/// Limits that the kernel sets on this process.
public enum ResourceLimits {
    /// Raises the number of files that may be open to the most that we are allowed: each connection is one.
    ///
    /// - Returns: how many more than those already open that is.
    public static func raiseOpenFiles() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        // If it fails, the limit stays as it was, which is not fatal.
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return max(0, Int(clamping: limit.rlim_cur) - open)
    }
}
