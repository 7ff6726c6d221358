import CMandosSystem
public import POSIXKit

/// The common part of the programs that prompt through a splash screen: how they end.
public enum SplashProgram {
    /// Prompts with `ask`, restores the screen unless there is a password, and writes the password to standard output.
    ///
    /// `absent` is the message for a screen that is not running.
    public static func run(
        _ program: StaticString, _ question: consuming SplashQuestion, absent: String,
        until stop: borrowing StopSignals,
        ask: (borrowing SplashQuestion, borrowing StopSignals) throws(SystemError) -> SplashQuestion.Outcome
    ) throws(SystemError) -> ProgramEnding {
        let outcome: SplashQuestion.Outcome
        do throws(SystemError) {
            outcome = try ask(question, stop)
        } catch {
            question.end()
            throw error
        }
        question.end()
        switch outcome {
        case .password(let password): return PasswordOutput.write(password, program, until: stop)
        case .stopped(let signal): return .signal(signal)
        case .notRunning:
            complain(program, absent)
            return .exit(.unavailable)
        case .failed:
            complain(program, "no password came; the splash screen, or the program that asks by it, gave up")
            return .exit(.unavailable)
        }
    }
}
