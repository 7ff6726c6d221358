import InitramfsKit
import MandosFormats
import POSIXKit

/// A running plugin-runner(8mandos), which is ended when this object is freed.
final class PluginRunner {
    static let path = "/lib/mandos/plugin-runner"

    /// Plugins that would ask where cryptsetup's askpass asks already.
    private static let conflicting = ["askpass-fifo", "password-prompt", "plymouth"]
    /// In bytes.
    private static let longestPassword = PasswordQuestion.longestPassword
    /// Longer than the 5 s that plugin-runner waits for its own plugins to end.
    private static let teardown = Teardown(termination: 8000)

    enum Outcome {
        case password(SecretBuffer)
        case failed(reason: String)
    }

    private let process: PipedChild

    init() throws(SystemError) {
        let pipes = try ChildPipes.make(capturesErrors: false)
        let child = try ChildProcess.start(
            Self.path, arguments: ["plugin-runner"] + Self.conflicting.map { "--disable=" + $0 },
            environment: ProcessEnvironment.settings, standard: pipes.standard)
        process = PipedChild(
            child, pipes, output: SecretBuffer(limit: Self.longestPassword + 1), teardown: Self.teardown)
    }

    func register(in set: inout PollSet) { process.register(in: &set) }

    /// - Returns: the outcome, once it has ended.
    func advance() -> Outcome? {
        switch process.advance() {
        case nil: nil
        case .tooMuchOutput: .failed(reason: "password longer than \(Self.longestPassword) bytes")
        case .ended(let status) where !status.isSuccess: .failed(reason: status.description)
        case .ended where process.output.count == 0: .failed(reason: "no password")
        case .ended: .password(process.output)
        }
    }
}
