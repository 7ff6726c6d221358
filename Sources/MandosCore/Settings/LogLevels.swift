/// How much the server logs: one level for the whole server, and others for parts of it.
///
/// Source: mandos(8) `--debuglevel`; levels for parts are ours.
public struct LogLevels: Equatable, Sendable {
    public enum Level: String, CaseIterable, Sendable {
        case critical = "CRITICAL"
        case error = "ERROR"
        case warning = "WARNING"
        case info = "INFO"
        case debug = "DEBUG"
    }

    /// The parts of the server.
    public enum Subsystem: String, CaseIterable, Sendable {
        /// Starting, stopping, the socket.
        case server
        case configuration
        /// Requests, and how they were answered.
        case request
        /// Clients that are enabled, disabled, added or removed.
        case client
        /// Connections that ended before the handshake was complete.
        case tls
        case checker
        case state
        case dbus
        case zeroconf
    }

    public struct SyntaxError: Error, Equatable, CustomStringConvertible {
        public let description: String
    }

    public var standard: Level
    public var exceptions: [Subsystem: Level] = [:]

    public init(_ standard: Level = .warning) { self.standard = standard }

    public subscript(subsystem: Subsystem) -> Level { exceptions[subsystem] ?? standard }

    /// Reads a list such as `INFO`, `checker=DEBUG,tls=ERROR` or `INFO,checker=DEBUG`, in upper or lower case.
    public init(parsing text: String) throws(SyntaxError) {
        self.init()
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(Self.trimmed)
            guard let level = Level(rawValue: parts[parts.count - 1].uppercased()) else {
                throw SyntaxError(
                    description: "\"\(parts[parts.count - 1])\" is not a level; use one of: \(Self.list(Level.self))")
            }
            guard parts.count == 2 else {
                standard = level
                continue
            }
            guard let subsystem = Subsystem(rawValue: parts[0].lowercased()) else {
                throw SyntaxError(
                    description: "\"\(parts[0])\" is not a part of the server; use one of: \(Self.list(Subsystem.self))"
                )
            }
            exceptions[subsystem] = level
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        let text = text.drop { $0 == " " }
        return String(text.prefix(text.count - text.reversed().prefix { $0 == " " }.count))
    }

    private static func list<T: CaseIterable & RawRepresentable<String>>(_: T.Type) -> String {
        T.allCases.map(\.rawValue).joined(separator: " ")
    }
}

extension LogLevels: CustomStringConvertible {
    /// The list in the form that ``init(parsing:)`` reads.
    public var description: String {
        ([standard.rawValue] + exceptions.map { "\($0.key.rawValue)=\($0.value.rawValue)" }.sorted())
            .joined(separator: ",")
    }
}
