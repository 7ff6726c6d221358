import CSystemd
public import MandosFormats
import POSIXKit

/// The service manager that has started us, if one has: systemd. Without one, nothing here does anything.
///
/// Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
public enum ServiceManager {
    /// What to tell it. Source: sd_notify(3), "Well-known assignments".
    public enum News {
        /// Started, or done with reloading.
        case ready
        case reloading
        case stopping
        case alive
        /// In one line, for `systemctl status`.
        case status(String)
    }

    public static func tell(_ news: News...) {
        let lines = news.map { news in
            switch news {
            case .ready: "READY=1"
            // It is compared with what the manager's own clock says, so it has to be that clock.
            case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(Clocks.monotonic)"
            case .stopping: "STOPPING=1"
            case .alive: "WATCHDOG=1"
            case .status(let text): "STATUS=\(text)"
            }
        }
        // It restarts us if it misses something; there is nothing else to do about a failure.
        _ = unsafe sd_notify(0, lines.joined(separator: "\n"))
    }

    /// The sockets that it has opened for us. They are ours from then on; later calls find none.
    public static func takeSockets() -> [Int32] {
        let count = sd_listen_fds(1)
        return count > 0 ? (0..<count).map { SD_LISTEN_FDS_START + $0 } : []
    }

    /// How often it wants to hear that we are ``News/alive``, at the least; nil if it does not.
    public static var watchdogInterval: TimeSpan? {
        var microseconds: UInt64 = 0
        guard unsafe sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return TimeSpan(milliseconds: Int64(clamping: microseconds / 1000))
    }

    /// What is meant for us alone, and not for the programs that we run.
    static let variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "STATE_DIRECTORY"]
}
