import CSystemd
import Glibc
import Logging
import MandosCore
import MandosFormats
import POSIXKit

/// Standard error, for a terminal: lines with time, level and subsystem.
public struct StandardErrorSink: LogSink {
    public init() {}

    public func write(_ entry: LogEntry) {
        let line = "\(entry.time.rfc3339) \(entry.level) \(entry.subsystem): \(entry.line)\n"
        // There is nowhere left to report a failure to.
        _ = unsafe Array(line.utf8).withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// The system's log, facility daemon. Source: mandos(8), LOGGING.
public struct SyslogSink: LogSink {
    public init() { SystemLog.open("mandos") }

    public func write(_ entry: LogEntry) { SystemLog.write(SystemLog.Priority(entry.level), entry.line) }
}

/// systemd's journal; each fact is also a field: `MANDOS_CLIENT_NAME=…`.
///
/// Source: sd_journal_send(3), systemd.journal-fields(7).
public struct JournalSink: LogSink {
    /// nil unless standard error is connected to the journal. Source: systemd.exec(5), `$JOURNAL_STREAM`.
    public init?() {
        guard let variable = unsafe getenv("JOURNAL_STREAM") else { return nil }
        var status = stat()
        guard unsafe fstat(STDERR_FILENO, &status) == 0,
            unsafe String(cString: variable) == "\(status.st_dev):\(status.st_ino)"
        else { return nil }
    }

    public func write(_ entry: LogEntry) {
        let facts = entry.facts.map { (Self.fieldName($0.name), singleLine($0.value)) }
        let fields =
            [
                ("MESSAGE", entry.line), ("PRIORITY", "\(SystemLog.Priority(entry.level).rawValue)"),
                ("SYSLOG_IDENTIFIER", "mandos"), ("MANDOS_SUBSYSTEM", entry.subsystem.rawValue),
            ] + facts
        let bytes = fields.map { Array("\($0)=\($1)".utf8) }
        let all = bytes.flatMap { $0 }
        // There is nowhere left to report a failure to.
        _ = unsafe all.withUnsafeBytes { (memory) -> Int32 in
            var start = 0
            let vectors = unsafe bytes.map { field in
                defer { start += field.count }
                let part = unsafe UnsafeRawBufferPointer(rebasing: memory[start..<start + field.count])
                return unsafe iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress), iov_len: part.count)
            }
            return unsafe sd_journal_sendv(vectors, Int32(vectors.count))
        }
    }

    private static func fieldName(_ name: String) -> String {
        "MANDOS_" + name.uppercased().replacing(".", with: "_")
    }
}

extension SystemLog.Priority {
    fileprivate init(_ level: Logger.Level) {
        switch level {
        case .trace, .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
