import InitramfsKit
import MandosFormats
import POSIXKit

/// One run: from the first question to the last answer.
enum Agent {
    /// In bytes; what a datagram takes with the system's usual limits (`net.core.wmem_default`), and more than any password.
    static let longestPassword = 1 << 17

    /// Runs the client if there are questions, and answers them, and those that come meanwhile, with what it prints.
    ///
    /// Ends when no question is left; if that is before the client has ended, the client is ended too.
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
        // An answer is a "+", and the password as it is.
        let message = SecretBuffer(limit: 1 + longestPassword + 1)
        append(UInt8(ascii: "+"), to: message)
        let client: UnprivilegedClient
        do throws(UnprivilegedClient.Problem) {
            setEnvironment("MANDOSPLUGINHELPERDIR", to: settings.helperDirectory)
            client = try UnprivilegedClient(
                settings.client[0], arguments: settings.client, user: settings.user, group: settings.group,
                output: message)
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
            switch client.advance() {
            case nil: break
            case .exit(status: 0):
                // As systemd's own agents end it.
                append(0, to: message)
                hasPassword = true
            case .some(let ending):
                report(settings.client[0] + " " + explanation(of: ending) + "; the questions remain unanswered")
                return .exit(.unavailable)
            }
        }
    }

    private static func explanation(of ending: UnprivilegedClient.Ending) -> String {
        switch ending {
        case .exit(let status): "failed with exit status " + String(status)
        case .signal(let number): "was ended by signal " + String(number)
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
