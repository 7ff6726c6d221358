import MandosFormats
import POSIXKit

/// The poll loop: passes events to ``UnlockingState``, and performs its actions.
final class Unlocking {
    enum Outcome {
        /// Every volume that was asked for is open, or the initramfs is gone.
        case done
        case stopped(signal: Int32)
        case gaveUp
    }

    /// Servers have one password for a machine, or two while it is changed. Each is kept in memory, to know it again.
    private static let mostPasswords = 16

    private let cryptrootUnlock: String
    private let timeOfBoot: FileDescriptor
    private let report: (String) -> Void

    private var state = UnlockingState(at: .now())
    private var prompts: PromptWatch
    private var prompt: Prompt?
    private var fetch: PluginRunner?
    /// The passwords that plugin-runner has printed, each once; ``UnlockingState`` knows them by their indices.
    private var passwords: [SecretBuffer] = []
    private var delivery: Delivery?

    init(cryptrootUnlock: String, report: @escaping (String) -> Void) throws(SystemError) {
        timeOfBoot = try HandOver.fixTimeOfBoot()
        prompts = try PromptWatch()
        self.cryptrootUnlock = cryptrootUnlock
        self.report = report
    }

    /// Runs until there is an outcome; every process that it started has ended when it returns.
    func run(until stop: borrowing StopSignals) -> Outcome {
        defer {
            delivery = nil
            fetch = nil
        }
        while true {
            let action = state.next(at: .now())
            guard case .wait(let deadline) = action else {
                if let outcome = perform(action) { return outcome }
                continue
            }
            var set = PollSet()
            set.add(stop.descriptor.number)
            prompts.register(in: &set)
            fetch?.register(in: &set)
            delivery?.register(in: &set)
            if let prompt { set.add(prompt.descriptor) }
            set.limit(to: deadline)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            if let outcome = advance(set) { return outcome }
        }
    }

    private func advance(_ set: PollSet) -> Outcome? {
        if let result = fetch?.advance() {
            fetch = nil
            if let outcome = fetched(result) { return outcome }
        }
        if let result = delivery?.advance() {
            delivery = nil
            if let outcome = perform(state.handedOver(result, at: .now())) { return outcome }
        }
        if let gone = prompt, set.isReady(gone.descriptor) {
            prompt = nil
            prompts.lookAgain()
            if let outcome = perform(state.promptGone(isTaken: delivery?.isTaken ?? false)) { return outcome }
        }
        if let new = prompts.advance(isWanted: state.needsPrompt) {
            prompt = new
            state.promptAppeared(volume: new.volume, isOurs: !new.isKeyscripts, isLastTry: new.isLastTry)
        }
        return prompts.isOver ? .done : nil
    }

    private func fetched(_ result: PluginRunner.Outcome) -> Outcome? {
        switch result {
        case .failed(let reason): return perform(state.fetchFailed("plugin-runner: " + reason, at: .now()))
        case .password(let new):
            if let known = passwords.firstIndex(where: { Self.areEqual($0, new) }) {
                state.fetched(password: known)
                return nil
            }
            guard passwords.count < Self.mostPasswords else {
                let reason = "plugin-runner: more than \(Self.mostPasswords) different passwords"
                return perform(state.fetchFailed(reason, at: .now()))
            }
            passwords.append(new)
            state.fetched(password: passwords.count - 1)
            return nil
        }
    }

    private func perform(_ action: UnlockingState.Action?) -> Outcome? {
        do throws(SystemError) {
            switch action {
            case nil, .wait: break
            case .fetchPassword: fetch = try PluginRunner()
            case .handOver(let password, let isDirect): try handOver(passwords[password], isDirect: isDirect)
            case .cancelHandOver: delivery = nil
            case .report(let text): report(text)
            case .finish: return .done
            case .giveUp(let text):
                report(text)
                return .gaveUp
            }
            return nil
        } catch {
            let reason = "\(error)"
            if case .fetchPassword = action { return perform(state.fetchFailed(reason, at: .now())) }
            return perform(state.handOverFailed(reason, at: .now()))
        }
    }

    private func handOver(_ password: SecretBuffer, isDirect: Bool) throws(SystemError) {
        guard let prompt else { return }
        delivery =
            isDirect && FIFOAnswer.canTake(password)
            ? .fifo(try FIFOAnswer(to: prompt, password)) : .cryptrootUnlock(try HandOver(cryptrootUnlock, password))
    }

    private static func areEqual(_ one: SecretBuffer, _ other: SecretBuffer) -> Bool {
        unsafe one.withBytes { one in unsafe other.withBytes { other in unsafe one.elementsEqual(other) } }
    }
}
