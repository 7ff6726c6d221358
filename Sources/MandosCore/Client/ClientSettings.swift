public import MandosFormats

/// The settings of one client, from its section of clients.conf.
public struct ClientSettings: Equatable, Sendable {
    public let name: String
    /// nil if only `fingerprint` is given, which is for TLS with OpenPGP keys: such a client cannot identify itself.
    public let keyID: KeyID?
    /// Hexadecimal digits, in upper case; empty if not given. Only stored and shown.
    public let fingerprint: String
    public var secret: Secret
    public var host: String
    public var checker: CheckerCommand
    public var timeout: TimeSpan
    public var extendedTimeout: TimeSpan
    public var interval: TimeSpan
    public var approvalDelay: TimeSpan
    public var approvalDuration: TimeSpan
    public var approvedByDefault: Bool
    public let enabled: Bool
    /// When the client's OpenPGP key expires: from then on the secret is refused.
    public let keyExpires: Timestamp?
}

/// All problems of a section or of several files.
public struct ConfigProblems: Error, Equatable {
    public let problems: [ConfigProblem]

    public init(problems: [ConfigProblem]) { self.problems = problems }

    /// Whether a later attempt may succeed without a change of the files: not all of them could be read.
    public var mayPass: Bool { problems.contains { $0.isReadError } }
}

extension ClientSettings {
    /// The options of a client's section.
    public static let optionNames: Set<String> = [
        "key_id", "fingerprint", "secret", "secfile", "host", "checker", "timeout", "extended_timeout", "interval",
        "approval_delay", "approval_duration", "approved_by_default", "enabled", "key_expires",
    ]

    /// The defaults of options, as they would be written in a section: values of other options may refer to them.
    ///
    /// Source: mandos-clients.conf(5), OPTIONS and START TIME EXPANSION.
    static let defaultTexts = [
        "timeout": "PT5M", "extended_timeout": "PT15M", "interval": "PT2M", "checker": "fping -q -- %%(host)s",
        "host": "",
        "approval_delay": "PT0S", "approval_duration": "PT1S", "approved_by_default": "True", "enabled": "True",
    ]

    /// Reads a client's section.
    ///
    /// `readFile` returns the contents of the file that `secfile` names, or the reason why it cannot be read.
    /// Source: mandos-clients.conf(5), OPTIONS; `key_expires` is ours, an RFC 3339 date.
    public static func read(
        _ scope: ConfigScope, readFile: (String) -> Result<[UInt8], FileProblem>
    ) throws(ConfigProblems) -> ClientSettings {
        var values = ConfigValues(scope.referring(to: defaultTexts))
        let keyID = readKeyID(&values)
        let fingerprint = readFingerprint(&values)
        if keyID == nil && fingerprint.isEmpty && values.problems.isEmpty {
            values.report("key_id", "is required; mandos-keygen --password on the client prints it")
        }
        let secret = readSecret(&values, readFile: readFile)
        let interval = values.timeSpan("interval", default: .minutes(2))
        if interval == .zero { values.report("interval", "must be greater than zero; write a duration such as PT2M") }
        let settings = ClientSettings(
            name: scope.section.name,
            keyID: keyID,
            fingerprint: fingerprint,
            secret: secret,
            host: values.string("host") ?? "",
            checker: readChecker(&values),
            timeout: values.timeSpan("timeout", default: .minutes(5)),
            extendedTimeout: values.timeSpan("extended_timeout", default: .minutes(15)),
            interval: interval,
            approvalDelay: values.timeSpan("approval_delay", default: .zero),
            approvalDuration: values.timeSpan("approval_duration", default: .seconds(1)),
            approvedByDefault: values.boolean("approved_by_default", default: true),
            enabled: values.boolean("enabled", default: true),
            keyExpires: readKeyExpires(&values))
        if !values.problems.isEmpty { throw ConfigProblems(problems: values.problems) }
        return settings
    }

    private static func readKeyID(_ values: inout ConfigValues) -> KeyID? {
        guard let text = values.nonEmptyString("key_id") else { return nil }
        if let keyID = KeyID(hexadecimal: text) { return keyID }
        let bytes = Hexadecimal.decode(text)
        let reason =
            if bytes?.count == KeyID.byteCount {
                "is the key ID of an empty key"
            } else {
                "is not a key ID: it has \(text.utf8.count { $0 != UInt8(ascii: " ") }) characters;"
                    + " a key ID is 64 hexadecimal digits"
            }
        values.report("key_id", reason)
        return nil
    }

    private static func readFingerprint(_ values: inout ConfigValues) -> String {
        guard let text = values.nonEmptyString("fingerprint") else { return "" }
        guard let bytes = Hexadecimal.decode(text) else {
            values.report("fingerprint", "is not hexadecimal")
            return ""
        }
        return Hexadecimal.encode(bytes).uppercased()
    }

    private static func readSecret(
        _ values: inout ConfigValues, readFile: (String) -> Result<[UInt8], FileProblem>
    ) -> Secret {
        var bytes: [UInt8] = []
        let source: String
        if values.scope.option("secret") != nil {
            source = "secret"
            guard let text = values.string("secret") else { return Secret([]) }
            do throws(Base64.Problem) {
                bytes = try Base64.decode(text)
            } catch {
                values.report("secret", "\(error)")
                return Secret([])
            }
        } else if let path = values.string("secfile") {
            source = "secfile"
            switch readFile(path) {
            case .success(let contents): bytes = contents
            case .failure(let problem):
                values.report("secfile", "\(problem)", isReadError: problem.isReadError)
                return Secret([])
            }
        } else {
            if values.scope.option("secfile") == nil {
                values.report("secret", "is required, or secfile; mandos-keygen --password on the client prints it")
            }
            return Secret([])
        }
        if bytes.isEmpty { values.report(source, "is empty; mandos-keygen --password on the client prints it") }
        if bytes.count > Secret.largest {
            values.report(source, "is \(bytes.count) bytes long; the longest allowed is \(Secret.largest)")
        }
        return Secret(bytes)
    }

    private static func readChecker(_ values: inout ConfigValues) -> CheckerCommand {
        let text = values.string("checker") ?? CheckerCommand.standard
        do throws(CheckerCommand.Problem) {
            return try CheckerCommand(parsing: text)
        } catch {
            values.report("checker", "\(error)")
            return .always
        }
    }

    private static func readKeyExpires(_ values: inout ConfigValues) -> Timestamp? {
        guard let text = values.nonEmptyString("key_expires") else { return nil }
        do throws(TimestampSyntaxError) {
            return try Timestamp(rfc3339: text)
        } catch {
            values.report(
                "key_expires", "\"\(text)\" is not a date; write one such as 2027-01-31 or 2027-01-31T12:00:00Z")
            return nil
        }
    }
}

/// Why a file could not be read.
public struct FileProblem: Error, Equatable, CustomStringConvertible {
    public let description: String
    /// Whether reading failed, which may pass by itself; false if the file is not to be read at all.
    public let isReadError: Bool

    public init(reason: String, isReadError: Bool = false) {
        description = reason
        self.isReadError = isReadError
    }
}
