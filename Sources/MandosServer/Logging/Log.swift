public import Logging
public import MandosCore
public import MandosFormats
import Synchronization

/// The loggers of the server's subsystems. Their levels can be changed while the server runs.
///
/// Source: mandos(8) `--debuglevel`.
public struct Log: Sendable {
    private let control: Control
    private let loggers: [LogLevels.Subsystem: Logger]

    private final class Control: Sendable {
        let levels: Mutex<LogLevels>

        init(_ levels: LogLevels) { self.levels = Mutex(levels) }
    }

    /// Each entry is written to all `sinks`.
    public init(_ levels: LogLevels, to sinks: [any LogSink]) {
        let control = Control(levels)
        self.control = control
        let pairs = LogLevels.Subsystem.allCases.map { subsystem in
            (subsystem, Logger(label: subsystem.rawValue) { _ in Handler(subsystem, control, sinks) })
        }
        loggers = Dictionary(uniqueKeysWithValues: pairs)
    }

    public subscript(subsystem: LogLevels.Subsystem) -> Logger {
        guard let logger = loggers[subsystem] else { preconditionFailure("every subsystem has a logger") }
        return logger
    }

    public var levels: LogLevels {
        get { control.levels.withLock { $0 } }
        nonmutating set { control.levels.withLock { $0 = newValue } }
    }

    private struct Handler: LogHandler {
        let subsystem: LogLevels.Subsystem
        let control: Control
        let sinks: [any LogSink]
        var metadata: Logger.Metadata = [:]

        init(_ subsystem: LogLevels.Subsystem, _ control: Control, _ sinks: [any LogSink]) {
            self.subsystem = subsystem
            self.control = control
            self.sinks = sinks
        }

        var logLevel: Logger.Level {
            get { Logger.Level(control.levels.withLock { $0[subsystem] }) }
            set { preconditionFailure("the level of a subsystem is set in Log.levels") }
        }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }
            let entry = LogEntry(
                level: event.level, subsystem: subsystem, message: event.message.description,
                facts: all.sorted { $0.key < $1.key }.map { ($0.key, $0.value.description) })
            for sink in sinks { sink.write(entry) }
        }
    }
}

extension Logger.Level {
    init(_ level: LogLevels.Level) {
        switch level {
        case .critical: self = .critical
        case .error: self = .error
        case .warning: self = .warning
        case .info: self = .info
        case .debug: self = .debug
        }
    }
}

/// A line of the log.
public struct LogEntry: Sendable {
    public let time = SystemClock.now().wall
    public let level: Logger.Level
    public let subsystem: LogLevels.Subsystem
    public let message: String
    /// Such as `client.name`, in order.
    public let facts: [(name: String, value: String)]

    /// The message with its facts in one line, without characters that a terminal would obey.
    public var line: String {
        singleLine(message + facts.map { " \($0.name)=\($0.value)" }.joined())
    }
}

/// A destination of the log.
public protocol LogSink: Sendable {
    /// May block; a ``LogQueue`` does not.
    func write(_ entry: LogEntry)
}
