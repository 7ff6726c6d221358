import InitramfsKit
import POSIXKit

/// password-prompt(8mandos): asks for a password at the console and prints it.
@main struct PasswordPromptProgram {
    private static let program: StaticString = "password-prompt"

    static func main() {
        Hardening.protectProcess()
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(Settings.read(), until: stop) }
    }

    private static func run(_ settings: Settings, until stop: borrowing StopSignals) throws(SystemError)
        -> ProgramEnding
    {
        func debug(_ message: String) { if settings.debug { complain(program, message) } }

        PluginRole.willAsk.declare()
        if let sign = PlymouthDetection.sign() {
            debug("not asking, since Plymouth does: \(sign)")
            return .exit(.unavailable)
        }
        PluginRole.asks.declare()
        let password: SecretBuffer
        do throws(SystemError) {
            switch try ask(settings.question, until: stop, debug) {
            case .password(let typed): password = typed
            case .stopped(let signal): return .signal(signal)
            case .noInput:
                complain(program, "standard input ended before there was a password; give it a terminal, or a line")
                return .exit(.noInput)
            }
        } catch {
            complain(program, "\(error)")
            return .exit(error.isMessageTooLong ? .dataError : .unavailable)
        }
        debug("writing the password")
        return PasswordOutput.write(password, program, until: stop)
    }

    /// Asks at standard input. If that is no terminal, but may bring a line, asks at the terminal of our session too: a person
    /// types there, and would otherwise be shown a prompt that nobody reads an answer to.
    private static func ask(
        _ question: String, until stop: borrowing StopSignals, _ debug: (String) -> Void
    ) throws(SystemError) -> PasswordQuestion.Outcome {
        let input = ExitStatus.standardInput
        if !PasswordQuestion.canAsk(at: input), !PasswordQuestion.hasEnded(input),
            let terminal = try? FileDescriptor.openTerminal(), PasswordQuestion.canAsk(at: terminal.number)
        {
            debug("asking at the terminal, and reading standard input")
            return try PasswordQuestion.ask(
                question, on: terminal.number, reading: terminal.number, orFrom: input, until: stop)
        }
        debug("asking at standard input")
        return try PasswordQuestion.ask(question, on: ExitStatus.standardError, reading: input, until: stop)
    }
}
