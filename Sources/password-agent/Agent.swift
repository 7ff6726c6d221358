import InitramfsKit
import MandosFormats
import POSIXKit

/// One run of the agent, from the first question to the last answer.
enum Agent {
    /// In bytes: fits into a datagram with the default limits (`net.core.wmem_default`), and exceeds any real password.
    static let longestPassword = 1 << 17

    /// Runs the client if there are questions; answers them, and those that arrive meanwhile, with its output.
    ///
    /// Returns when no question is left, and ends the client if it still runs.
    static func run(
        _ settings: Settings, until stop: borrowing StopSignals, report: @escaping (String) -> Void
    ) -> ProgramEnding {
        do throws(SystemError) {
            var questions = try QuestionDirectory.open(settings.agentDirectory, report: report)
            guard questions.readAll() else {
                report("there are no questions in " + settings.agentDirectory + "; start this when there are")
                return .exit(.noInput)
            }
            questions.update()
            return questions.isEmpty ? .exit(.success) : answer(&questions, settings, until: stop, report)
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
        let client: PipedChild
        do throws(SystemError) {
            setEnvironment("MANDOSPLUGINHELPERDIR", to: settings.helperDirectory)
            client = try UnprivilegedClient.start(
                settings.client, user: settings.user, group: settings.group, output: message)
        } catch {
            report("\(error)")
            return .exit(.osError)
        }
        defer { client.end() }
        var hasPassword = false
        while true {
            questions.update()
            if hasPassword { questions.answer(message) }
            if questions.isEmpty { return .exit(questions.hasFailed ? .unavailable : .success) }
            var set = PollSet()
            set.add(stop.descriptor.number)
            client.register(in: &set)
            questions.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .signal(signal) }
            guard !hasPassword, let outcome = client.advance() else { continue }
            guard outcome == .ended(.success) else {
                report(settings.client[0] + " " + explanation(of: outcome) + "; the questions remain unanswered")
                return .exit(.unavailable)
            }
            // systemd's own agents end an answer with a zero byte.
            append(0, to: message)
            hasPassword = true
        }
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
