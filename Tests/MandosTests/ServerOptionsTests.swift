import MandosCore
import Testing

@testable import mandos

@Suite struct `Options on the command line` {
    private let none = ServerOptions(currentDirectory: "/here")

    private static var configured: ServerSettings {
        var settings = ServerSettings()
        settings.interface = "eth0"
        settings.address = "::1"
        settings.port = 1
        settings.logLevels = LogLevels(.error)
        settings.priority = "NORMAL"
        settings.serviceName = "Configured"
        settings.stateDirectory = "/configured"
        settings.socket = 3
        return settings
    }

    @Test(arguments: [ServerSettings(), configured]) func `change nothing when there are none`(settings: ServerSettings)
    {
        #expect(none.applied(to: settings) == settings)
    }

    @Test(arguments: [ServerSettings(), configured]) func `override mandos.conf`(configured: ServerSettings) {
        let options = ServerOptions(
            interface: "eth1", address: "::2", port: 2, logLevels: LogLevels(.info), priority: "SECURE",
            serviceName: "New",
            stateDirectory: "/new", socket: 4, isForeground: true, isWithoutDBus: true, isWithoutIPv6: true,
            isWithoutRestore: true, isWithoutZeroconf: true, currentDirectory: "/here")
        var expected = configured
        expected.interface = "eth1"
        expected.address = "::2"
        expected.port = 2
        expected.logLevels = LogLevels(.info)
        expected.priority = "SECURE"
        expected.serviceName = "New"
        expected.stateDirectory = "/new"
        expected.socket = 4
        expected.foreground = true
        expected.useDBus = false
        expected.useIPv6 = false
        expected.restore = false
        expected.zeroconf = false
        #expect(options.applied(to: configured) == expected)
    }

    @Test(arguments: [true, false]) func `log everything, in the foreground, when debugging`(isConfigured: Bool) throws
    {
        var options = none
        var settings = ServerSettings()
        if isConfigured { settings.debug = true } else { options.isDebugging = true }
        options.logLevels = try LogLevels(parsing: "ERROR,tls=INFO")
        let result = options.applied(to: settings)
        #expect(result.debug && result.foreground)
        #expect(try result.logLevels == LogLevels(parsing: "DEBUG,tls=INFO"), "a level for a part stays")
    }

    @Test func `cannot turn on what mandos.conf turns off`() {
        var settings = ServerSettings()
        (settings.useDBus, settings.useIPv6, settings.restore, settings.zeroconf) = (false, false, false, false)
        #expect(none.applied(to: settings) == settings)
    }

    @Test(arguments: [
        (nil, "/configured", "/configured"), (nil, "configured", "/here/configured"),
        ("given", "/configured", "/here/given"),
        ("/given", "configured", "/given"),
    ])
    func `make the state directory absolute`(given: String?, configured: String, expected: String) {
        var options = none
        options.stateDirectory = given
        var settings = ServerSettings()
        settings.stateDirectory = configured
        #expect(options.applied(to: settings).stateDirectory == expected)
    }
}
