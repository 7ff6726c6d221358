import InitramfsKit

/// password-prompt(8mandos): asks for a password at the console and prints it.
@main struct PasswordPromptProgram {
    private static let program: StaticString = "password-prompt"

    static func main() {
        Hardening.protectProcess()
        do throws(SystemError) {
            let stop = try StopSignals()
            let settings = Settings.read()
            // Everything that must be undone is, once this is back.
            switch try run(settings, until: stop) {
            case .exit(let status): status.exit()
            case .signal(let signal): dieOf(signal)
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }

    private enum Ending {
        case exit(ExitStatus)
        case signal(Int32)
    }

    private static func run(_ settings: Settings, until stop: borrowing StopSignals) throws(SystemError) -> Ending {
        func debug(_ message: String) { if settings.debug { complain(program, message) } }

        if let sign = PlymouthDetection.sign() {
            debug("not asking, since Plymouth does: \(sign)")
            return .exit(.unavailable)
        }
        debug("asking at standard input")
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
        do throws(SystemError) {
            switch try PasswordOutput.write(password, until: stop) {
            case .written: return .exit(.success)
            case .stopped(let signal): return .signal(signal)
            }
        } catch {
            complain(program, "\(error)")
            return .exit(.ioError)
        }
    }
}
