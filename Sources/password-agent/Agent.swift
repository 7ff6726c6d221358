import InitramfsKit
import MandosFormats
import POSIXKit

/// One run of the agent, from the first question to the last answer.
enum Agent {
    /// In bytes: fits into a datagram with the default limits (`net.core.wmem_default`), and exceeds any real password.
    static let longestPassword = 1 << 17

    /// Runs the client if there are questions; answers them, and those that arrive meanwhile, with its output.
    ///
    /// Returns when there is no file of a question any more, not even of one that is for people or cannot be answered: the unit
    /// that starts this program starts it again as long as there is any. Ends the client when no question needs it.
    static func run(
        _ settings: Settings, until stop: borrowing StopSignals, report: @escaping (String) -> Void
    ) -> ProgramEnding {
        do throws(SystemError) {
            let answered = AnsweredQuestions(at: settings.answeredFile, report: report)
            var questions = try QuestionDirectory.open(settings.agentDirectory, answered: answered, report: report)
            guard questions.readAll() else {
                report("there are no questions in " + settings.agentDirectory + "; start this when there are")
                return .exit(.noInput)
            }
            return answer(&questions, settings, until: stop, report)
        } catch {
            report("\(error); it has to be there before this starts: see --agent-directory")
            return .exit(error.isNoSuchFile ? .noInput : .osError)
        }
    }

    private static func answer(
        _ questions: inout QuestionDirectory, _ settings: Settings, until stop: borrowing StopSignals,
        _ report: @escaping (String) -> Void
    ) -> ProgramEnding {
        let client = ClientRuns(settings, report: report)
        while true {
            questions.update()
            client.advance(isNeeded: questions.needsPassword)
            if let answer = client.answer { questions.answer(answer) }
            if questions.mayBeLeft || (!settings.staysWhileAsked && questions.isEmpty) {
                return .exit(questions.hasFailed ? .unavailable : .success)
            }
            var set = PollSet()
            stop.register(in: &set)
            client.register(in: &set, isNeeded: questions.needsPassword)
            questions.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .signal(signal) }
        }
    }
}
