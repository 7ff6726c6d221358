import InitramfsKit
import MandosFormats
import POSIXKit

/// usplash(8mandos): asks for a password by way of usplash(8) and prints it.
@main struct UsplashProgram {
    private static let program: StaticString = "usplash"
    private static let absent = "usplash is not running; use another plugin"

    static func main() {
        Hardening.protectProcess()
        NoOptions.read(
            program, summary: "Ask for a password by way of usplash(8), and print it.", version: mandosVersion)
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(until: stop) }
    }

    private static func run(until stop: borrowing StopSignals) throws(SystemError) -> ProgramEnding {
        // This process needs root only to open the FIFOs.
        guard let opened = UsplashConversation.open() else {
            complain(program, absent)
            return .exit(.unavailable)
        }
        var conversation = Optional(opened)
        let question = try SplashQuestion.begin(screen, program: program)
        let prompt = prompt
        return try SplashProgram.run(program, question, absent: absent, until: stop) {
            (question, stop) throws(SystemError) in
            if let problem = try question.problem(until: stop) { return problem }
            // Closed before usplash is ended, which discards a question that is still unread.
            guard let conversation = conversation.take() else { return .failed }
            let outcome = try conversation.ask(prompt, question, until: stop)
            if case .password = outcome { question.isAnswered() }
            return outcome
        }
    }

    private static var screen: SplashScreen {
        SplashScreen(
            daemon: "/sbin/usplash", arguments: .asBefore,
            showing: .write(UsplashConversation.pulsate, toFIFO: UsplashConversation.commandFIFO))
    }

    private static var prompt: String {
        "Enter passphrase to unlock the disk" + DiskToUnlock.inEnvironment.names + ": "
    }
}
