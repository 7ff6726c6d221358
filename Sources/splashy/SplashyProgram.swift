import InitramfsKit
import MandosFormats
import POSIXKit

/// splashy(8mandos): asks for a password by way of splashy(8) and prints it.
@main struct SplashyProgram {
    private static let program: StaticString = "splashy"

    static func main() {
        Hardening.protectProcess()
        NoOptions.read(
            program, summary: "Ask for a password by way of splashy(8), and print it.", version: mandosVersion)
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(until: stop) }
    }

    private static func run(until stop: borrowing StopSignals) throws(SystemError) -> ProgramEnding {
        let question = try SplashQuestion.begin(screen, program: program)
        return try SplashProgram.run(
            program, question, absent: "splashy is not running; use another plugin", until: stop
        ) { (question, stop) throws(SystemError) in
            try question.answer(until: stop)
        }
    }

    /// The commands of splashy. Source: splashy(8mandos), "DESCRIPTION" and "FILES"; splashy_update(8).
    private static var screen: SplashScreen {
        let prompt = "Enter passphrase to unlock the disk" + DiskToUnlock.inEnvironment.names + ": "
        return SplashScreen(
            daemon: "/sbin/splashy",
            question: .init("/sbin/splashy_update", ["getpass " + prompt]),
            arguments: .these(["boot"]))
    }
}
