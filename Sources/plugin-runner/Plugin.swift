import CMandosSystem
import MandosFormats
import POSIXKit

/// One plugin, from its first start until it is given up.
final class Plugin {
    enum State {
        case running
        /// It has succeeded. What it left behind may still print, until a time.
        case lingering(until: BootTime)
        /// It said that another try may help.
        case resting(until: BootTime)
        /// What it printed counts.
        case succeeded(SecretBuffer)
        case failed
    }

    let name: String
    private(set) var state = State.failed

    private let begin: () throws(SystemError) -> PluginProcess
    /// In debug mode, what it says on standard error goes through us.
    private let voices: PluginVoices?
    private let report: (String) -> Void

    private var process: PluginProcess?
    private var output = SecretBuffer(limit: 1)
    /// Pauses before a plugin that asks for it is started again.
    private var pauses = Backoff(first: 1000, longest: 60_000, most: 10)

    /// How long what somebody else holds open may still bring output, once a plugin has succeeded, in milliseconds: more, when
    /// there is some, and any at all.
    private static let outputGrace: Int64 = 1000
    private static let silenceGrace: Int64 = 10_000

    /// `begin` starts its process.
    init(
        name: String, voices: PluginVoices?, report: @escaping (String) -> Void,
        begin: @escaping () throws(SystemError) -> PluginProcess
    ) {
        self.name = name
        self.voices = voices
        self.report = report
        self.begin = begin
    }

    /// Starts it; one that cannot be started has failed.
    func start() {
        do throws(SystemError) {
            process = try begin()
            output = SecretBuffer(limit: ProtocolLimits.largestSecret + 1)
            state = .running
            report("plugin \(name) started")
        } catch {
            state = .failed
            complain("plugin-runner", "plugin \(name): \(error)")
        }
    }

    func register(in set: inout PollSet) {
        switch state {
        case .running: process?.register(in: &set)
        case .lingering(let until):
            process?.register(in: &set)
            set.limit(to: until)
        case .resting(let until): set.limit(to: until)
        case .succeeded, .failed: break
        }
    }

    /// Takes what it has said, and sees whether it has ended.
    func advance(at now: BootTime) {
        if case .resting(let until) = state, now >= until { start() }
        guard let process else { return }
        // In this order: what it wrote before it ended is there once it has ended.
        let status = process.collectStatus()
        process.drainOutput(into: output)
        voices?.passOnErrors(of: process, name)
        if output.isFull {
            report("plugin \(name) printed more than \(ProtocolLimits.largestSecret) bytes")
            process.signal(SIGKILL)
        }
        if let status { settle(status, process, at: now) }
        switch state {
        case .running, .lingering: break
        case .resting, .succeeded, .failed: self.process = nil
        }
    }

    private func settle(_ status: TerminationStatus, _ process: PluginProcess, at now: BootTime) {
        if status.isSuccess {
            if output.isFull { state = .failed } else { linger(process, at: now) }
        } else if status == .exit(status: ExitStatus.temporaryFailure.rawValue), let pause = pauses.next() {
            report("plugin \(name) will be started again in \(pause / 1000) s")
            state = .resting(until: now.after(milliseconds: pause))
        } else {
            report("plugin " + name + " failed with " + status.description)
            state = .failed
        }
    }

    /// Whether it has printed something.
    var hasOutput: Bool { output.count > 0 }

    private func linger(_ process: PluginProcess, at now: BootTime) {
        var end = now.after(milliseconds: hasOutput ? Self.outputGrace : Self.silenceGrace)
        if case .lingering(let until) = state {
            end = min(until, end)
        } else if !process.mayPrint {
            // It was alone, and means what it has not printed.
            return succeed()
        }
        if process.mayPrint && now < end {
            state = .lingering(until: end)
        } else if hasOutput {
            succeed()
        } else {
            report("plugin \(name) has left somebody behind who says nothing")
            state = .failed
        }
    }

    private func succeed() {
        report("plugin \(name) succeeded")
        state = .succeeded(output)
    }

    // MARK: Ending it

    /// Whether it still ran when ``collectStatus()`` was called.
    var isRunning: Bool { process != nil }

    func signal(_ number: Int32) { process?.signal(number) }

    /// Sees whether it has ended, and drops what it prints.
    func collectStatus() {
        guard let process else { return }
        let dropped = SecretBuffer(limit: 1)
        process.drainOutput(into: dropped)
        voices?.passOnErrors(of: process, name)
        if process.collectStatus() != nil { self.process = nil }
    }

    func registerEnd(in set: inout PollSet) { process?.register(in: &set) }
}
