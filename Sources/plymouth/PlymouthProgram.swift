import InitramfsKit
import POSIXKit

/// plymouth(8mandos): asks for a password by way of plymouth(8) and prints it.
@main struct PlymouthProgram {
    private static let program: StaticString = "plymouth"
    private static let client = "/bin/plymouth"

    static func main() {
        Hardening.protectProcess()
        let settings = Settings.read()
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(settings, until: stop) }
    }

    private static func run(
        _ settings: Settings, until stop: borrowing StopSignals
    ) throws(SystemError) -> ProgramEnding {
        guard isExecutable(client) else {
            complain(program, client + " is not here; use another plugin, or install plymouth")
            return .exit(.unavailable)
        }
        let question = try SplashQuestion.begin(
            screen(asking: settings.prompt), program: program, isVerbose: settings.debug)
        return try SplashProgram.run(
            program, question, absent: "plymouthd is not running; boot with \"splash\", or use another plugin",
            until: stop
        ) { (question, stop) throws(SystemError) in
            try question.answer(until: stop)
        }
    }

    /// The commands of Plymouth. Source: plymouth(8mandos), "DESCRIPTION" and "FILES"; plymouth(1).
    private static func screen(asking prompt: String) -> SplashScreen {
        SplashScreen(
            daemon: "/sbin/plymouthd",
            ping: .init(client, ["--ping"]),
            question: .init(client, ["ask-for-password", "--prompt=" + prompt]),
            quitting: .command(.init(client, ["quit"])),
            arguments: .asBefore,
            showing: .command(.init(client, ["show-splash"])))
    }
}
