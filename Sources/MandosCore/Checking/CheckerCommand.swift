public import MandosFormats

/// A checker: a shell command with `%(field)s` for values that are filled in when it runs.
///
/// Source: mandos-clients.conf(5) `checker` and RUNTIME EXPANSION.
public struct CheckerCommand: Equatable, Sendable {
    /// The values that a checker may refer to.
    public enum Field: String, CaseIterable, Sendable {
        case approvalDelay = "approval_delay"
        case approvalDuration = "approval_duration"
        case created, enabled, expires
        case keyID = "key_id"
        case fingerprint, host, interval
        case lastApprovalRequest = "last_approval_request"
        case lastCheckedOK = "last_checked_ok"
        case lastEnabled = "last_enabled"
        case name, timeout
        case dbusObjectPath = "dbus_object_path"
    }

    public enum Problem: Error, Equatable, CustomStringConvertible {
        case empty
        case badFormat(PercentFormat.SyntaxError)
        case unknownField(String)

        public var description: String {
            switch self {
            case .empty: "empty command; write \"true\" for a client that always counts as alive"
            case .badFormat(let error): "when the checker runs, \(error); in the file that is %%%%"
            case .unknownField(let name): "%%(\(name))s" + Self.unknown
            }
        }

        /// The description for a command set by an operator: there a percent sign is written once, not twice as in a
        /// file.
        var whileRunning: String {
            switch self {
            case .empty: description
            case .badFormat(let error): "\(error)"
            case .unknownField(let name): "%(\(name))s" + Self.unknown
            }
        }

        private static let unknown =
            " is not a field that checkers can refer to; use one of: "
            + Field.allCases.map(\.rawValue).joined(separator: " ")
    }

    public static let standard = "fping -q -- %(host)s"

    /// Stands in for a command that could not be read.
    static let always = CheckerCommand(unchecked: "true")

    /// The command as written, after start-time expansion.
    public let template: String

    public init(parsing template: String) throws(Problem) {
        guard !template.isEmpty else { throw .empty }
        let pieces: [PercentFormat.Piece]
        do throws(PercentFormat.SyntaxError) {
            pieces = try PercentFormat.pieces(of: template)
        } catch {
            throw .badFormat(error)
        }
        for case .reference(let name) in pieces where Field(rawValue: name) == nil { throw .unknownField(name) }
        self.template = template
    }

    private init(unchecked template: String) { self.template = template }

    /// The first word, a program or a shell builtin; nil if the command begins with anything but a simple word.
    public var program: String? {
        let word = template.prefix { $0 != " " }
        let isSimple = word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "/"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isSimple && !word.isEmpty ? String(word) : nil
    }

    /// The command to run: each field filled in, and quoted for the shell.
    public func expanded(_ value: (Field) -> String) -> String {
        // The template was checked when it was read.
        let pieces = (try? PercentFormat.pieces(of: template)) ?? []
        return pieces.map { piece in
            switch piece {
            case .text(let text): text
            case .reference(let name): Field(rawValue: name).map { Self.quoted(value($0)) } ?? ""
            }
        }.joined()
    }

    /// Quotes text for a POSIX shell, unless no character of it is special there: as in the reference, such a value may also
    /// stand between double quotes.
    ///
    /// Between single quotes, only the single quote is special. A NUL cannot be passed.
    static func quoted(_ text: String) -> String {
        if !text.isEmpty, text.utf8.allSatisfy(isPlain) { return text }
        return "'" + text.replacing("'", with: #"'\''"#).replacing("\0", with: "") + "'"
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "_@%+=:,./-".utf8.contains(byte)
        }
    }
}

extension Client {
    /// The value of a field that checkers can refer to, as the reference writes it.
    ///
    /// Source: mandos-clients.conf(5), RUNTIME EXPANSION; the texts as observed.
    public func value(
        of field: CheckerCommand.Field, at now: Moment, objectPath: @autoclosure () -> String
    ) -> String {
        switch field {
        case .approvalDelay: CheckerText.of(settings.approvalDelay)
        case .approvalDuration: CheckerText.of(settings.approvalDuration)
        case .created: CheckerText.of(created)
        case .enabled: isEnabled(at: now.boot) ? "True" : "False"
        case .expires: CheckerText.of(expires(at: now))
        case .keyID: settings.keyID.map { String(describing: $0).uppercased() } ?? ""
        case .fingerprint: settings.fingerprint
        case .host: settings.host
        case .interval: CheckerText.of(settings.interval)
        case .lastApprovalRequest: CheckerText.of(lastApprovalRequest)
        case .lastCheckedOK: CheckerText.of(lastCheckedOK)
        case .lastEnabled: CheckerText.of(lastEnabled)
        case .name: settings.name
        case .timeout: CheckerText.of(settings.timeout)
        case .dbusObjectPath: objectPath()
        }
    }

    /// When the client will be disabled if there is no sign of life, in wall time; nil if it is disabled.
    public func expires(at now: Moment) -> Timestamp? {
        guard let end = leaseEnd(at: now.boot) else { return nil }
        let remaining = end - now.boot
        return Timestamp(millisecondsSince1970: now.wall.millisecondsSince1970 + remaining.milliseconds)
    }
}
