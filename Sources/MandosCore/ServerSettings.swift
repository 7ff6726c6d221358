public import MandosFormats

/// What mandos.conf says of the server; the command line overrides it. Source: mandos.conf(5), mandos(8).
public struct ServerSettings: Equatable, Sendable {
    public var interface: String?
    public var address: String?
    public var port: UInt16?
    public var debug = false
    public var priority: String?
    public var serviceName = "Mandos"
    public var useDBus = true
    public var useIPv6 = true
    public var restore = true
    public var stateDirectory = "/var/lib/mandos"
    public var foreground = false
    /// A listening socket that whoever started us left open.
    public var socket: Int32?
    public var zeroconf = true
    public var debugLevel = DebugLevel.warning

    public init() {}

    /// Source: mandos(8) `--debuglevel`.
    public enum DebugLevel: String, CaseIterable, Sendable {
        case critical = "CRITICAL"
        case error = "ERROR"
        case warning = "WARNING"
        case info = "INFO"
        case debug = "DEBUG"

        /// Reads a level in either case.
        public init?(_ text: String) { self.init(rawValue: text.uppercased()) }
    }

    public static let optionNames: Set<String> = [
        "interface", "address", "port", "debug", "priority", "servicename", "use_dbus", "use_ipv6", "restore",
        "statedir", "foreground", "socket", "zeroconf", "debuglevel",
    ]

    /// Reads `[DEFAULT]` of mandos.conf.
    public static func read(_ defaults: ConfigFile.Section) throws(ConfigProblems) -> ServerSettings {
        var values = ConfigValues(ConfigScope(section: defaults, defaults: []))
        var settings = ServerSettings()
        settings.interface = values.nonEmptyString("interface")
        settings.address = values.nonEmptyString("address")
        settings.port = values.number("port", in: 1...65535).map { UInt16($0) }
        settings.debug = values.boolean("debug", default: false)
        settings.priority = values.nonEmptyString("priority")
        settings.serviceName = values.nonEmptyString("servicename") ?? settings.serviceName
        settings.useDBus = values.boolean("use_dbus", default: true)
        settings.useIPv6 = values.boolean("use_ipv6", default: true)
        settings.restore = values.boolean("restore", default: true)
        settings.stateDirectory = values.nonEmptyString("statedir") ?? settings.stateDirectory
        settings.foreground = values.boolean("foreground", default: false)
        settings.socket = values.number("socket", in: 0...Int(Int32.max)).map { Int32($0) }
        settings.zeroconf = values.boolean("zeroconf", default: true)
        if let text = values.nonEmptyString("debuglevel") {
            if let level = DebugLevel(text) {
                settings.debugLevel = level
            } else {
                values.report("debuglevel", "\"\(text)\" is no level; write one of \(DebugLevel.list)")
            }
        }
        if !values.problems.isEmpty { throw ConfigProblems(problems: values.problems) }
        return settings
    }
}

extension ServerSettings.DebugLevel {
    public static var list: String { allCases.map(\.rawValue).joined(separator: " ") }
}
