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
        debug("asking at standard input")
        PluginRole.asks.declare()
        let password: SecretBuffer
        do throws(SystemError) {
            let outcome = try PasswordQuestion.ask(
                settings.question, on: ExitStatus.standardError, reading: ExitStatus.standardInput, until: stop)
            switch outcome {
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
}
