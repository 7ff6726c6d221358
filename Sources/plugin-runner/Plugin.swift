import CMandosSystem
import MandosFormats
import POSIXKit

/// One plugin, over all its starts, until it succeeds or fails for good.
final class Plugin {
    enum State {
        case running
        /// Exited with success; other processes that hold its standard output open may still write, until a time.
        case lingering(until: BootTime)
        /// Ended in such a way that it is restarted, at a time.
        case resting(until: BootTime)
        /// Succeeded; its output is the password.
        case succeeded(SecretBuffer)
        case failed
    }

    let name: String
    private(set) var state = State.failed

    /// Whether a password that was stored, rather than typed, counts as a success.
    private let takesStoredPassword: Bool
    private let begin: () throws(SystemError) -> PluginProcess
    /// Copies its standard error in debug mode; nil otherwise.
    private let voices: PluginVoices?
    private let report: (String) -> Void
    /// Whether it is started again, after a pause, when it has ended with a status that is not success.
    private let isRepeated: (TerminationStatus) -> Bool

    private var process: PluginProcess?
    private var output = SecretBuffer(limit: 1)
    /// Pauses before a restart.
    private var pauses: Backoff
    private var role: KnownRole

    /// How long other processes that hold its standard output open may still write after its success, in milliseconds:
    /// if there is some output already, and if there is none.
    private static let outputGrace: Int64 = 1000
    private static let silenceGrace: Int64 = 10_000

    /// `begin` starts the plugin's process.
    init(
        name: String, voices: PluginVoices?, report: @escaping (String) -> Void,
        pauses: Backoff = Backoff(first: 1000, longest: 60_000, most: 10),
        isRepeated: @escaping (TerminationStatus) -> Bool = {
            $0 == .exit(status: ExitStatus.temporaryFailure.rawValue)
        },
        takesStoredPassword: Bool = true, begin: @escaping () throws(SystemError) -> PluginProcess
    ) {
        self.name = name
        self.voices = voices
        self.report = report
        self.pauses = pauses
        self.isRepeated = isRepeated
        self.takesStoredPassword = takesStoredPassword
        self.begin = begin
        role = KnownRole(ofPlugin: name, at: .now())
    }

    /// Starts the process; a failure counts as one of the plugin's.
    func start(at now: BootTime) {
        do throws(SystemError) {
            process = try begin()
            output = SecretBuffer(limit: ProtocolLimits.largestSecret + 1)
            role = KnownRole(ofPlugin: name, at: now)
            state = .running
            report("plugin \(name) started")
        } catch {
            complain("plugin-runner", "plugin \(name): \(error)")
            restOrFail(.exit(status: ExitStatus.osError.rawValue), at: now)
        }
    }

    func register(in set: inout PollSet, at now: BootTime) {
        switch state {
        case .running:
            process?.register(in: &set)
            if case .until(let end) = role.claim, end > now { set.limit(to: end) }
        case .lingering(let until):
            process?.register(in: &set)
            set.limit(to: until)
        case .resting(let until): set.limit(to: until)
        case .succeeded, .failed: break
        }
    }

    /// Reads its output, handles its end, and restarts it after a pause.
    func advance(at now: BootTime) {
        if case .resting(let until) = state, now >= until { start(at: now) }
        guard let process else { return }
        // The status before the output, so that everything it wrote before its end is read.
        let status = process.collectStatus()
        process.drainOutput(into: output)
        voices?.passOnErrors(of: process, name)
        if let newest = process.newestRole() { role = role.declaring(newest, at: now) }
        if output.isFull {
            report("plugin \(name) printed more than \(ProtocolLimits.largestSecret) bytes")
            process.signal(SIGKILL)
        }
        if let status { settle(status, process, at: now) }
        switch state {
        case .running, .lingering: break
        case .resting, .succeeded, .failed:
            self.process = nil
            // Wiped at once, if this was not the password.
            output = SecretBuffer(limit: 1)
        }
    }

    private func settle(_ status: TerminationStatus, _ process: PluginProcess, at now: BootTime) {
        if status.isSuccess {
            if output.isFull { state = .failed } else { linger(process, at: now) }
        } else {
            restOrFail(status, at: now)
        }
    }

    private func restOrFail(_ status: TerminationStatus, at now: BootTime) {
        if isRepeated(status), let pause = pauses.next() {
            report("plugin \(name) will be started again in \(pause / 1000) s")
            state = .resting(until: now.after(milliseconds: pause))
        } else {
            report("plugin " + name + " failed with " + status.description)
            state = .failed
        }
    }

    private var hasOutput: Bool { output.count > 0 }

    /// Whether our own prompt has to wait: the plugin asks a person, or is about to, or will have succeeded in a moment.
    func holdsPrompt(at now: BootTime) -> Bool {
        switch state {
        case .running:
            switch role.claim {
            case .none: false
            case .until(let end): now < end
            case .untilItEnds: true
            }
        case .lingering: hasOutput
        case .resting, .succeeded, .failed: false
        }
    }

    /// Whether it may still succeed.
    var isLeft: Bool {
        switch state {
        case .running, .lingering, .resting: true
        case .succeeded, .failed: false
        }
    }

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

    /// Whether its password was stored, rather than typed.
    var givesStoredPassword: Bool { role.givesStoredPassword }

    private func succeed() {
        guard takesStoredPassword || !givesStoredPassword else {
            report("plugin \(name): this volume has refused a stored password; its password is not used")
            state = .failed
            return
        }
        report("plugin \(name) succeeded")
        state = .succeeded(output)
    }

    // MARK: Its end

    /// Whether the process had not ended yet when ``collectStatus()`` was last called.
    var isRunning: Bool { process != nil }

    func signal(_ number: Int32) { process?.signal(number) }

    /// Whether it may have to put a splash screen or a terminal back in order before it ends.
    var restores: Bool { role.restores }

    /// Collects the status if the process has ended, and discards its output.
    func collectStatus() {
        guard let process else { return }
        let dropped = SecretBuffer(limit: 1)
        process.drainOutput(into: dropped)
        voices?.passOnErrors(of: process, name)
        _ = process.newestRole()
        if process.collectStatus() != nil { self.process = nil }
    }

    func registerEnd(in set: inout PollSet) { process?.register(in: &set) }
}
