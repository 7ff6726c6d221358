import MandosFormats

/// The settings of a client that operators changed, each with the value that the file had then.
///
/// This is the three-way merge of mandos(8), PERSISTENT STATE: the old file, the new file, and the saved value.
public struct SettingOverrides: Equatable, Sendable, Codable {
    /// The settings that operators can change, with their names in clients.conf.
    enum Setting: String, CaseIterable, Codable {
        case secret, host, checker, timeout, interval
        case extendedTimeout = "extended_timeout"
        case approvalDelay = "approval_delay"
        case approvalDuration = "approval_duration"
        case approvedByDefault = "approved_by_default"
    }

    private struct Override: Equatable, Codable {
        let configured: String
        let value: String
    }

    private var overrides: [String: Override] = [:]

    public init() {}

    /// The differences of `settings` from `configured`.
    init(of settings: ClientSettings, over configured: ClientSettings) {
        guard settings != configured else { return }
        for setting in Setting.allCases {
            let old = setting.text(in: configured)
            let new = setting.text(in: settings)
            if old != new { overrides[setting.rawValue] = Override(configured: old, value: new) }
        }
    }

    public var isEmpty: Bool { overrides.isEmpty }

    /// `configured` with each override that was made over the same configured value.
    func applied(to configured: ClientSettings) -> ClientSettings {
        var settings = configured
        for (name, override) in overrides {
            guard let setting = Setting(rawValue: name), override.configured == setting.text(in: configured) else {
                continue
            }
            setting.set(override.value, in: &settings)
        }
        return settings
    }
}

extension SettingOverrides.Setting {
    /// The value of the setting as text, without loss.
    fileprivate func text(in settings: ClientSettings) -> String {
        switch self {
        case .secret: Hexadecimal.encode(settings.secret.bytes)
        case .host: settings.host
        case .checker: settings.checker.template
        case .timeout: String(settings.timeout.milliseconds)
        case .interval: String(settings.interval.milliseconds)
        case .extendedTimeout: String(settings.extendedTimeout.milliseconds)
        case .approvalDelay: String(settings.approvalDelay.milliseconds)
        case .approvalDuration: String(settings.approvalDuration.milliseconds)
        case .approvedByDefault: String(settings.approvedByDefault)
        }
    }

    /// Sets the value from text; text that ``text(in:)`` does not write changes nothing.
    fileprivate func set(_ text: String, in settings: inout ClientSettings) {
        let span = Int64(text).map(TimeSpan.init(milliseconds:))
        switch self {
        case .secret: settings.secret = Hexadecimal.decode(text).map { Secret($0) } ?? settings.secret
        case .host: settings.host = text
        case .checker: settings.checker = (try? CheckerCommand(parsing: text)) ?? settings.checker
        case .timeout: settings.timeout = span ?? settings.timeout
        case .interval: settings.interval = span.flatMap { $0 > .zero ? $0 : nil } ?? settings.interval
        case .extendedTimeout: settings.extendedTimeout = span ?? settings.extendedTimeout
        case .approvalDelay: settings.approvalDelay = span ?? settings.approvalDelay
        case .approvalDuration: settings.approvalDuration = span ?? settings.approvalDuration
        case .approvedByDefault: settings.approvedByDefault = Bool(text) ?? settings.approvedByDefault
        }
    }
}
