import InitramfsKit
import MandosFormats
import POSIXKit

/// A plugin-runner(8mandos) at work, which ends with this object.
final class PluginRunner {
    static let path = "/lib/mandos/plugin-runner"

    /// The plugins that would ask where cryptsetup's askpass asks already.
    private static let conflicting = ["askpass-fifo", "password-prompt", "plymouth"]
    /// No password is longer, in bytes.
    private static let longestPassword = PasswordQuestion.longestPassword
    /// How long it has, in milliseconds, to end its plugins: that it waits 5 s for them is its own business.
    private static let timeToEnd: Int64 = 8000

    enum Outcome {
        case password(SecretBuffer)
        case failed(why: String)
    }

    private let process: ChildProcess
    private let output: FileDescriptor
    private let password = SecretBuffer(limit: PluginRunner.longestPassword + 1)
    private var isOutputOver = false
    private var isOver = false

    init() throws(SystemError) {
        let nothing = try FileDescriptor.nothing()
        let pipe = try Pipe()
        try pipe.reading.setNonBlocking()
        process = try ChildProcess.start(
            Self.path, arguments: ["plugin-runner"] + Self.conflicting.map { "--disable=" + $0 },
            environment: ProcessEnvironment.settings,
            standard: [nothing.number, pipe.writing.number, ExitStatus.standardError])
        output = pipe.keepReading()
    }

    deinit { if !isOver { end() } }

    func register(in set: inout PollSet) {
        set.add(process.descriptor)
        if !isOutputOver { set.add(output.number) }
    }

    /// - Returns: what came of it, once it has ended.
    func advance() -> Outcome? {
        if !isOutputOver { isOutputOver = password.drain(output.number) }
        guard let ending = process.endingWithGroup() else { return nil }
        isOver = true
        // What it wrote before it ended may still be on its way.
        if !isOutputOver { _ = password.drain(output.number) }
        switch ending {
        case .signal(let number): return .failed(why: "ended by signal \(number)")
        case .exit(let status) where status != 0: return .failed(why: "exit status \(status)")
        case .exit:
            if password.count == 0 { return .failed(why: "no password") }
            if password.isFull { return .failed(why: "password longer than \(Self.longestPassword) bytes") }
            return .password(password)
        }
    }

    /// It ends its plugins by itself; what is still there after that is killed.
    private func end() {
        process.terminate()
        let deadline = BootTime.now().after(milliseconds: Self.timeToEnd)
        while BootTime.now() < deadline {
            var set = PollSet()
            set.add(process.descriptor)
            set.limit(to: deadline)
            set.wait()
            if process.endingWithGroup() != nil { return }
        }
        process.endGroup()
    }
}
