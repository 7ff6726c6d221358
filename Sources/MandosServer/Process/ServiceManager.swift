import CSystemd
public import MandosFormats
import POSIXKit

/// The service manager that started the server, which is systemd; without one, these functions do nothing.
///
/// Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
public enum ServiceManager {
    /// A notification. Source: sd_notify(3), "Well-known assignments".
    public enum Notification {
        /// The start, or a reload, is complete.
        case ready
        case reloading
        case stopping
        case alive
        /// One line for `systemctl status`.
        case status(String)
    }

    public static func notify(_ notifications: Notification...) {
        let lines = notifications.map { notification in
            switch notification {
            case .ready: "READY=1"
            // systemd compares it with its own clock, which is the monotonic one.
            case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(Clocks.monotonic)"
            case .stopping: "STOPPING=1"
            case .alive: "WATCHDOG=1"
            case .status(let text): "STATUS=\(text)"
            }
        }
        // A failure is ignored: systemd restarts a server whose notifications it misses.
        _ = unsafe sd_notify(0, lines.joined(separator: "\n"))
    }

    /// Takes ownership of the sockets that it has opened for the server; later calls find none.
    public static func takeSockets() -> [Int32] {
        let count = sd_listen_fds(1)
        return count > 0 ? (0..<count).map { SD_LISTEN_FDS_START + $0 } : []
    }

    /// The longest time allowed between two notifications ``Notification/alive``; nil if there is no watchdog.
    public static var watchdogInterval: TimeSpan? {
        var microseconds: UInt64 = 0
        guard unsafe sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return TimeSpan(milliseconds: Int64(clamping: microseconds / 1000))
    }

    /// The environment variables that are for the server alone, not for the programs that it runs; the last is its own.
    static let variables = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "STATE_DIRECTORY", "LISTEN_PID",
        "LISTEN_FDS", "LISTEN_FDNAMES", "LIBDISPATCH_LOG",
    ]
}
