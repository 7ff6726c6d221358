import CMandosSystem
import MandosFormats
import POSIXKit

/// One plugin, over all its starts, until it succeeds or fails for good.
final class Plugin {
    enum State {
        case running
        /// Exited with success; other processes that hold its standard output open may still write, until a time.
        case lingering(until: BootTime)
        /// Exited with `EX_TEMPFAIL`; restarted at a time.
        case resting(until: BootTime)
        /// Succeeded; its output is the password.
        case succeeded(SecretBuffer)
        case failed
    }

    let name: String
    private(set) var state = State.failed

    private let begin: () throws(SystemError) -> PluginProcess
    /// Copies its standard error in debug mode; nil otherwise.
    private let voices: PluginVoices?
    private let report: (String) -> Void

    private var process: PluginProcess?
    private var output = SecretBuffer(limit: 1)
    /// Pauses before a restart after `EX_TEMPFAIL`.
    private var pauses = Backoff(first: 1000, longest: 60_000, most: 10)

    /// How long other processes that hold its standard output open may still write after its success, in milliseconds:
    /// if there is some output already, and if there is none.
    private static let outputGrace: Int64 = 1000
    private static let silenceGrace: Int64 = 10_000

    /// `begin` starts the plugin's process.
    init(
        name: String, voices: PluginVoices?, report: @escaping (String) -> Void,
        begin: @escaping () throws(SystemError) -> PluginProcess
    ) {
        self.name = name
        self.voices = voices
        self.report = report
        self.begin = begin
    }

    /// Starts the process; if that fails, the plugin has failed.
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

    /// Reads its output, handles its end, and restarts it after a pause.
    func advance(at now: BootTime) {
        if case .resting(let until) = state, now >= until { start() }
        guard let process else { return }
        // The status before the output, so that everything it wrote before its end is read.
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

    var hasOutput: Bool { output.count > 0 }

    private func linger(_ process: PluginProcess, at now: BootTime) {
        var end = now.after(milliseconds: hasOutput ? Self.outputGrace : Self.silenceGrace)
        if case .lingering(let until) = state {
            end = min(until, end)
        } else if !process.mayPrint {
            // No other process holds its output: it is complete, even if empty.
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

    // MARK: Its end

    /// Whether the process had not ended yet when ``collectStatus()`` was last called.
    var isRunning: Bool { process != nil }

    func signal(_ number: Int32) { process?.signal(number) }

    /// Collects the status if the process has ended, and discards its output.
    func collectStatus() {
        guard let process else { return }
        let dropped = SecretBuffer(limit: 1)
        process.drainOutput(into: dropped)
        voices?.passOnErrors(of: process, name)
        if process.collectStatus() != nil { self.process = nil }
    }

    func registerEnd(in set: inout PollSet) { process?.register(in: &set) }
}
