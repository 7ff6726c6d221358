import MandosCore

/// The settings on the command line; each overrides the setting in mandos.conf. nil and false leave it unchanged.
///
/// Source: mandos(8), OPTIONS.
struct ServerOptions: Sendable {
    var interface: String?
    var address: String?
    var port: UInt16?
    var isDebugging = false
    var logLevels: LogLevels?
    var priority: String?
    var serviceName: String?
    var stateDirectory: String?
    var socket: Int32?
    var isForeground = false
    var isWithoutDBus = false
    var isWithoutIPv6 = false
    var isWithoutRestore = false
    var isWithoutZeroconf = false
    /// The base of a relative state directory, from the command line or mandos.conf: a daemon leaves its directory.
    var currentDirectory: String

    /// The settings in force, if mandos.conf has `configured`.
    func applied(to configured: ServerSettings) -> ServerSettings {
        var settings = configured
        settings.interface = interface ?? settings.interface
        settings.address = address ?? settings.address
        settings.port = port ?? settings.port
        settings.debug = isDebugging || settings.debug
        settings.logLevels = logLevels ?? settings.logLevels
        if settings.debug { settings.logLevels.standard = .debug }
        settings.serviceName = serviceName ?? settings.serviceName
        settings.priority = priority ?? settings.priority
        settings.socket = socket ?? settings.socket
        settings.foreground = isForeground || settings.foreground || settings.debug
        settings.stateDirectory = absolute(stateDirectory ?? settings.stateDirectory)
        if isWithoutDBus { settings.useDBus = false }
        if isWithoutRestore { settings.restore = false }
        if isWithoutIPv6 { settings.useIPv6 = false }
        if isWithoutZeroconf { settings.zeroconf = false }
        return settings
    }

    func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : currentDirectory + "/" + path }
}
