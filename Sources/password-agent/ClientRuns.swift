import MandosFormats
import POSIXKit

/// The client, which is run until it has printed a password; after a failure it is started again, less and less often.
final class ClientRuns {
    private let settings: Settings
    private let report: (String) -> Void
    private var client: PipedChild?
    private var output = SecretBuffer(limit: 1)
    private var due = BootTime.now()
    private var pauses = Backoff(first: 1000, longest: 60_000, most: .max)
    private var lastReport = ""

    /// The answer to questions, once the client has succeeded: "+" followed by its output, byte for byte, and a zero byte, with
    /// which systemd's own agents end an answer.
    private(set) var answer: SecretBuffer?

    init(_ settings: Settings, report: @escaping (String) -> Void) {
        self.settings = settings
        self.report = report
    }

    deinit { client?.end() }

    func register(in set: inout PollSet, isNeeded: Bool) {
        client?.register(in: &set)
        if isNeeded, client == nil, answer == nil { set.limit(to: due) }
    }

    /// Starts the client if it `isNeeded`, or else ends it; handles its end.
    func advance(isNeeded: Bool) {
        guard isNeeded, answer == nil else { return client = nil }
        if client == nil, due <= .now() { start() }
        guard let outcome = client?.advance() else { return }
        client = nil
        if outcome == .ended(.success) {
            Self.append(0, to: output)
            answer = output
        } else {
            fail(settings.client[0] + " " + Self.explanation(of: outcome))
        }
    }

    private func start() {
        output = SecretBuffer(limit: 1 + Agent.longestPassword + 1)
        Self.append(UInt8(ascii: "+"), to: output)
        setEnvironment("MANDOSPLUGINHELPERDIR", to: settings.helperDirectory)
        do throws(SystemError) {
            client = try UnprivilegedClient.start(
                settings.client, user: settings.user, group: settings.group, output: output)
        } catch {
            fail("\(error)")
        }
    }

    private func fail(_ reason: String) {
        // It may contain a part of the password.
        output = SecretBuffer(limit: 1)
        if let pause = pauses.next() { due = BootTime.now().after(milliseconds: pause) }
        // A repeated reason is reported once.
        if !reason.utf8.elementsEqual(lastReport.utf8) {
            report(reason + "; trying again as long as there are questions")
        }
        lastReport = reason
    }

    private static func explanation(of outcome: PipedChild.Outcome) -> String {
        switch outcome {
        case .ended(let status): "failed with " + status.description
        case .tooMuchOutput: "printed more than " + String(Agent.longestPassword) + " bytes, which is no password"
        }
    }

    private static func append(_ byte: UInt8, to message: SecretBuffer) {
        unsafe message.append { room in
            unsafe room[0] = byte
            return 1
        }
    }
}
