public import MandosFormats

/// A checker: a shell command with `%(field)s` for what is filled in when it runs.
///
/// Source: mandos-clients.conf(5) `checker` and RUNTIME EXPANSION.
public struct CheckerCommand: Equatable, Sendable {
    /// What a checker may refer to.
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
            case .unknownField(let name):
                "%%(\(name))s is nothing a checker can refer to; there are: "
                    + Field.allCases.map(\.rawValue).joined(separator: " ")
            }
        }
    }

    public static let standard = "fping -q -- %(host)s"

    /// Needs no field, so it stands in for one that could not be read.
    static let always = CheckerCommand(unchecked: "true")

    /// As written, after start-time expansion.
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
}
