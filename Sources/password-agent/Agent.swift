import InitramfsKit
import MandosFormats
import POSIXKit

/// One run of the agent, from the first question to the last answer.
enum Agent {
    /// In bytes: fits into a datagram with the default limits (`net.core.wmem_default`), and exceeds any real password.
    static let longestPassword = 1 << 17

    /// Runs the client if there are questions; answers them, and those that arrive meanwhile, with its output.
    ///
    /// Returns when no question is left, and ends the client if it still runs. Questions for people count too: the unit
    /// that starts this program starts it again as long as there is any question.
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
            return .exit(.noInput)
        }
    }

    private static func answer(
        _ questions: inout QuestionDirectory, _ settings: Settings, until stop: borrowing StopSignals,
        _ report: (String) -> Void
    ) -> ProgramEnding {
        // An answer is "+" followed by the password, byte for byte.
        let message = SecretBuffer(limit: 1 + longestPassword + 1)
        append(UInt8(ascii: "+"), to: message)
        var client: PipedChild?
        defer { client?.end() }
        var hasPassword = false
        while true {
            questions.update()
            if hasPassword { questions.answer(message) }
            if questions.isEmpty { return .exit(questions.hasFailed ? .unavailable : .success) }
            if client == nil, questions.needsPassword {
                do throws(SystemError) {
                    client = try start(settings, message)
                } catch {
                    report("\(error)")
                    return .exit(.osError)
                }
            }
            var set = PollSet()
            set.add(stop.descriptor.number)
            client?.register(in: &set)
            questions.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .signal(signal) }
            guard !hasPassword, let outcome = client?.advance() else { continue }
            guard outcome == .ended(.success) else {
                report(settings.client[0] + " " + explanation(of: outcome) + "; the questions remain unanswered")
                return .exit(.unavailable)
            }
            // systemd's own agents end an answer with a zero byte.
            append(0, to: message)
            hasPassword = true
        }
    }

    private static func start(_ settings: Settings, _ output: SecretBuffer) throws(SystemError) -> PipedChild {
        setEnvironment("MANDOSPLUGINHELPERDIR", to: settings.helperDirectory)
        return try UnprivilegedClient.start(
            settings.client, user: settings.user, group: settings.group, output: output)
    }

    private static func explanation(of outcome: PipedChild.Outcome) -> String {
        switch outcome {
        case .ended(let status): "failed with " + status.description
        case .tooMuchOutput: "printed more than " + String(longestPassword) + " bytes, which is no password"
        }
    }

    private static func append(_ byte: UInt8, to message: SecretBuffer) {
        unsafe message.append { room in
            unsafe room[0] = byte
            return 1
        }
    }
}
