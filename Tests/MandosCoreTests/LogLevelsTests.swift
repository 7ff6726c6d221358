import MandosCore
import Testing

@Suite struct `Log levels` {
    @Test(
        arguments: [
            ("INFO", LogLevels.Level.info, [:]), ("debug", .debug, [:]),
            ("checker=DEBUG,tls=error", .warning, [.checker: .debug, .tls: .error]),
            (" INFO , Checker = CRITICAL ", .info, [.checker: .critical]),
        ] as [(String, LogLevels.Level, [LogLevels.Subsystem: LogLevels.Level])])
    func `are for everything or for parts of the server`(
        text: String, standard: LogLevels.Level, exceptions: [LogLevels.Subsystem: LogLevels.Level]
    ) throws {
        let levels = try LogLevels(parsing: text)
        #expect(levels.standard == standard)
        for subsystem in LogLevels.Subsystem.allCases {
            #expect(levels[subsystem] == exceptions[subsystem] ?? standard)
        }
        #expect(try LogLevels(parsing: levels.description) == levels)
    }

    @Test(arguments: [
        ("", #""" is not a level; use one of: CRITICAL ERROR WARNING INFO DEBUG"#),
        ("INFO,", #""" is not a level; use one of: CRITICAL ERROR WARNING INFO DEBUG"#),
        ("checker=LOUD", #""LOUD" is not a level; use one of: CRITICAL ERROR WARNING INFO DEBUG"#),
        (
            "cheker=INFO",
            #""cheker" is not a part of the server; use one of: server configuration request client tls checker state dbus zeroconf"#
        ),
    ])
    func `that make no sense are refused`(text: String, message: String) throws {
        #expect(
            try #require(throws: LogLevels.SyntaxError.self) { try LogLevels(parsing: text) }.description == message)
    }
}
