public import MandosFormats

/// The settings of the server, from mandos.conf; the command line overrides them. Source: mandos.conf(5), mandos(8).
public struct ServerSettings: Equatable, Sendable {
    public var interface: String?
    public var address: String?
    public var port: UInt16?
    public var debug = false
    public var priority: String?
    public var serviceName = ServiceName.standard
    public var useDBus = true
    public var useIPv6 = true
    public var restore = true
    public var stateDirectory = "/var/lib/mandos"
    public var foreground = false
    /// The file descriptor of an inherited listening socket.
    public var socket: Int32?
    public var zeroconf = true
    public var logLevels = LogLevels()

    public init() {}

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
        if let name = values.nonEmptyString("servicename") {
            if let problem = ServiceName.problem(with: name) { values.report("servicename", problem) }
            settings.serviceName = name
        }
        settings.useDBus = values.boolean("use_dbus", default: true)
        settings.useIPv6 = values.boolean("use_ipv6", default: true)
        settings.restore = values.boolean("restore", default: true)
        settings.stateDirectory = values.nonEmptyString("statedir") ?? settings.stateDirectory
        settings.foreground = values.boolean("foreground", default: false)
        settings.socket = values.number("socket", in: 0...Int(Int32.max)).map { Int32($0) }
        settings.zeroconf = values.boolean("zeroconf", default: true)
        if let text = values.nonEmptyString("debuglevel") {
            do throws(LogLevels.SyntaxError) {
                settings.logLevels = try LogLevels(parsing: text)
            } catch {
                values.report("debuglevel", "\(error)")
            }
        }
        if !values.problems.isEmpty { throw ConfigProblems(problems: values.problems) }
        return settings
    }
}

extension ServerSettings {
    /// The options that differ in `other` and take effect only after a restart.
    public func optionsThatNeedRestart(to other: ServerSettings) -> [String] {
        func option<Value: Equatable>(_ name: String, _ value: (ServerSettings) -> Value) -> String? {
            value(self) == value(other) ? nil : name
        }
        return [
            option("interface") { $0.interface }, option("address") { $0.address }, option("port") { $0.port },
            option("debug") { $0.debug }, option("priority") { $0.priority },
            option("servicename") { $0.serviceName }, option("use_dbus") { $0.useDBus },
            option("use_ipv6") { $0.useIPv6 }, option("statedir") { $0.stateDirectory },
            option("foreground") { $0.foreground }, option("socket") { $0.socket },
            option("zeroconf") { $0.zeroconf },
        ].compactMap { $0 }
    }
}
