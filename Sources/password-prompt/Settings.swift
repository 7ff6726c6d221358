import InitramfsKit
import MandosFormats
import POSIXKit

/// The settings from the command line and the environment of password-prompt(8mandos).
struct Settings {
    private enum Option: Equatable, Sendable { case prefix, prompt, debug }

    private var prefix: String?
    private var prompt: String?
    private(set) var debug = false

    private static let reader = CommandLineReader<Option>(
        program: "password-prompt",
        summary: "Ask for a password at the terminal, and print it.",
        options: [
            CommandLineOption(.prefix, "prefix", short: "p", value: "PREFIX", "Show this before the prompt."),
            CommandLineOption(
                .prompt, "prompt", value: "PROMPT", "Ask this, whatever CRYPTTAB_SOURCE and CRYPTTAB_NAME say."),
            CommandLineOption(.debug, "debug", "Tell on standard error what happens."),
        ])

    /// Reads the command line; an invalid one ends the program with `EX_USAGE`.
    static func read() -> Settings {
        var settings = Settings()
        for (option, value) in reader.read(version: mandosVersion) {
            switch option {
            case .prefix: settings.prefix = value
            case .prompt: settings.prompt = value
            case .debug: settings.debug = true
            }
        }
        return settings
    }

    /// The whole prompt.
    var question: String {
        (prefix.map { $0 + " " } ?? "") + (prompt.map { $0 + ": " } ?? DiskToUnlock.inEnvironment.prompt)
    }
}
