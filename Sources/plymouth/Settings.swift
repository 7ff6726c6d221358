import InitramfsKit
import MandosFormats
import POSIXKit

/// The settings from the command line and the environment of plymouth(8mandos).
struct Settings {
    private enum Option: Equatable, Sendable { case prompt, debug }

    private(set) var prompt = "Unlocking the disk" + DiskToUnlock.inEnvironment.names + "\nEnter passphrase"
    private(set) var debug = false

    private static let reader = CommandLineReader<Option>(
        program: "plymouth",
        summary: "Ask for a password by way of plymouth(8), and print it.",
        options: [
            CommandLineOption(
                .prompt, "prompt", value: "PROMPT", "Ask this, whatever the environment says about the disk."),
            CommandLineOption(.debug, "debug", "Tell on standard error what happens."),
        ])

    /// Reads the command line; an invalid one ends the program with `EX_USAGE`.
    static func read() -> Settings {
        var settings = Settings()
        for (option, value) in reader.read(version: mandosVersion) {
            switch option {
            case .prompt: settings.prompt = value
            case .debug: settings.debug = true
            }
        }
        return settings
    }
}
