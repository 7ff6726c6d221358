import InitramfsKit
import MandosFormats
import POSIXKit

/// The settings from the command line of password-agent(8mandos).
struct Settings {
    private enum Option: Equatable, Sendable {
        case agentDirectory, answeredFile, helperDirectory, user, group, test
    }

    var agentDirectory = "/run/systemd/ask-password"
    /// Where it is kept which questions were answered.
    var answeredFile = "/run/password-agent.answered"
    var helperDirectory = "/lib/mandos/plugin-helpers"
    var user: UInt32 = 65534
    var group: UInt32 = 65534
    private(set) var test = false
    /// Whether to go on as long as there is a file of a question, even if nothing is left to be done about it.
    var staysWhileAsked = true
    /// The client's path, and its options.
    var client = ["/lib/mandos/plugins.d/mandos-client"]

    private static let reader = CommandLineReader<Option>(
        program: "password-agent",
        summary: """
            Run a Mandos client, and answer systemd's questions for volumes' passwords with what it prints.
            A question that is asked again, since the volume has refused that password, is left to people.
            The client and its options come last, after "--"; default: /lib/mandos/plugins.d/mandos-client.
            """,
        options: [
            CommandLineOption(
                .agentDirectory, "agent-directory", short: "d", value: "DIRECTORY",
                "Where the questions are. Default: /run/systemd/ask-password."),
            CommandLineOption(
                .answeredFile, "answered-file", value: "FILE",
                "Lists the questions that were answered. Default: /run/password-agent.answered."),
            CommandLineOption(
                .helperDirectory, "helper-directory", value: "DIRECTORY",
                "Where the client finds its helpers. Default: /lib/mandos/plugin-helpers."),
            CommandLineOption(
                .user, "user", short: "u", value: "USERID", "The client's real user, a number. Default: 65534."),
            CommandLineOption(
                .group, "group", short: "g", value: "GROUPID", "The client's real group, a number. Default: 65534."),
            CommandLineOption(.test, "test", "Only run self-tests."),
        ], operands: " [--] [MANDOS_CLIENT [OPTION…]]")

    /// Reads the command line; an invalid one ends the program with `EX_USAGE`.
    static func read(_ program: StaticString) -> Settings {
        var settings = Settings()
        let reading = reader.readWithOperands(version: mandosVersion)
        for (option, value) in reading.options {
            if let problem = settings.apply(option, value) {
                complain(program, problem)
                ExitStatus.usage.exit()
            }
        }
        if !reading.operands.isEmpty { settings.client = reading.operands }
        return settings
    }

    /// - Returns: a problem with the value, if there is one.
    private mutating func apply(_ option: Option, _ value: String) -> String? {
        switch option {
        case .agentDirectory: agentDirectory = value
        case .answeredFile: answeredFile = value
        case .helperDirectory: helperDirectory = value
        case .user:
            guard let number = Self.id(value) else { return "--user=" + value + ": not a user's number" }
            user = number
        case .group:
            guard let number = Self.id(value) else { return "--group=" + value + ": not a group's number" }
            group = number
        case .test: test = true
        }
        return nil
    }

    /// A user or group number. The largest one is refused: to the kernel it means "unchanged".
    private static func id(_ text: String) -> UInt32? {
        guard text.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        guard let number = UInt32(text), number < UInt32.max else { return nil }
        return number
    }
}
