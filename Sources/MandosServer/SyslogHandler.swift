import InitramfsKit
public import Logging

/// Sends what is logged to the system's log, with its metadata behind the message. Source: mandos(8), LOGGING.
public struct SyslogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel = Logger.Level.warning

    public init() { SystemLog.open("mandos") }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        SystemLog.write(Self.priority(event.level), Self.line(event.message, all))
    }

    /// One line, whatever a name or a reason has in it.
    static func line(_ message: Logger.Message, _ metadata: Logger.Metadata) -> String {
        let facts = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        return String(
            String.UnicodeScalarView(
                "\(message)\(facts)".unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
    }

    private static func priority(_ level: Logger.Level) -> SystemLog.Priority {
        switch level {
        case .trace, .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        case .critical: .critical
        }
    }
}
