import MandosFormats
import POSIXKit

/// Fetches a password, waits for prompts, and brings both together, in one poll loop.
final class Unlocking {
    enum Ending {
        /// Every volume that was asked for is open.
        case done
        case stopped(signal: Int32)
        case gaveUp
    }

    /// How long a password waits for the first prompt, in milliseconds: the disk may come late.
    private static let longestWaitForPrompt: Int64 = 3_600_000
    /// The same for the prompt of a further volume.
    private static let longestWaitForNextPrompt: Int64 = 300_000
    /// How many prompts get a password at most.
    private static let mostAnswers = 100

    private let cryptrootUnlock: String
    private let timeOfBoot: FileDescriptor
    private let report: (String) -> Void

    private var prompts: PromptWatch
    private var prompt: Prompt?
    private var handOver: HandOver?
    private var handOverDue: BootTime?
    private var answered = 0

    private var fetch: PluginRunner?
    private var fetchDue: BootTime? = .now()
    /// Pauses before plugin-runner is run again.
    private var pauses = Backoff(first: 1000, longest: 60_000, most: 100)

    private var password: SecretBuffer?
    /// The volumes that have refused this password. They do not get it again: each try counts against `tries` of
    /// crypttab(5), and people at the console need some too.
    private var refusers: [String] = []
    /// The volume that has got this password, and was not open when cryptroot-unlock ended.
    private var uncertain: String?

    private var opened = 0
    private var idleSince: BootTime?
    private var lastReport = ""

    init(cryptrootUnlock: String, report: @escaping (String) -> Void) throws(SystemError) {
        timeOfBoot = try HandOver.fixTimeOfBoot()
        prompts = try PromptWatch()
        self.cryptrootUnlock = cryptrootUnlock
        self.report = report
    }

    /// When it returns, nothing runs any more that it has started.
    func run(until stop: borrowing StopSignals) -> Ending {
        defer {
            handOver = nil
            fetch = nil
        }
        while true {
            if let ending = startFetch() ?? handOverIfDue() ?? endOfWaiting() { return ending }
            var set = PollSet()
            set.add(stop.descriptor.number)
            register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            if let ending = advance(set) { return ending }
        }
    }

    private func register(in set: inout PollSet) {
        prompts.register(in: &set)
        fetch?.register(in: &set)
        handOver?.register(in: &set)
        if let prompt { set.add(prompt.descriptor) }
        if fetch == nil { set.limit(to: fetchDue) }
        if handOver == nil, canHandOver { set.limit(to: handOverDue) }
        set.limit(to: waitingEnds)
    }

    private func advance(_ set: PollSet) -> Ending? {
        if let outcome = fetch?.advance() {
            fetch = nil
            if let ending = fetched(outcome) { return ending }
        }
        if let handOver, let outcome = handOver.advance() {
            self.handOver = nil
            if let ending = handedOver(outcome, to: handOver.prompt) { return ending }
        }
        if let gone = prompt, set.isReady(gone.descriptor) {
            prompt = nil
            handOverDue = nil
            prompts.lookAgain()
            // Somebody else has answered: what was meant for this prompt must not wait for the next one.
            if let running = handOver, !running.isTaken { handOver = nil }
        }
        if let new = prompts.advance(isWanted: prompt == nil) { prompt = new }
        return nil
    }

    // MARK: The password

    private func startFetch() -> Ending? {
        guard fetch == nil, let due = fetchDue, due <= .now() else { return nil }
        fetchDue = nil
        do throws(SystemError) {
            fetch = try PluginRunner()
        } catch {
            return fetchAgain(because: "\(error)")
        }
        return nil
    }

    private func fetched(_ outcome: PluginRunner.Outcome) -> Ending? {
        switch outcome {
        case .failed(let why): return fetchAgain(because: "plugin-runner: " + why)
        case .password(let new):
            if let password, Self.areEqual(password, new) { return nil }
            password = new
            refusers = []
            return nil
        }
    }

    private func fetchAgain(because why: String) -> Ending? {
        guard fetch == nil, fetchDue == nil else { return nil }
        guard let pause = pauses.next() else {
            report(why + "; giving up; type the password on the console")
            return .gaveUp
        }
        // The same again and again is said once.
        if !why.utf8.elementsEqual(lastReport.utf8) {
            report(why + "; trying again, or type the password on the console")
            lastReport = why
        }
        fetchDue = BootTime.now().after(milliseconds: pause)
        return nil
    }

    // MARK: The prompt

    private var canHandOver: Bool {
        guard let prompt, password != nil else { return false }
        return !prompt.isAnswered && !isRefused(by: prompt.volume)
    }

    private func handOverIfDue() -> Ending? {
        guard handOver == nil else { return nil }
        judge()
        if let prompt, !prompt.isAnswered, isRefused(by: prompt.volume) {
            return fetchAgain(because: prompt.volume + " has refused the password")
        }
        guard let prompt, canHandOver, let password, handOverDue ?? .now() <= .now() else { return nil }
        handOverDue = nil
        do throws(SystemError) {
            handOver = try HandOver(cryptrootUnlock, password, for: prompt)
        } catch {
            handOverAgain(to: prompt, because: "\(error)")
        }
        return nil
    }

    /// A volume asks again that has just got our password: so it did not take it. Only that is certain; cryptroot-unlock
    /// also fails where cryptsetup takes longer than it waits.
    private func judge() {
        guard let prompt, !prompt.isAnswered, let volume = uncertain else { return }
        uncertain = nil
        if prompt.volume.utf8.elementsEqual(volume.utf8) { refusers.append(volume) }
    }

    private func handedOver(_ outcome: HandOver.Outcome, to prompt: Prompt) -> Ending? {
        switch outcome {
        case .nothingLeft: return .done
        case .notTaken(let why):
            handOverAgain(to: prompt, because: "cryptroot-unlock: " + why)
            return nil
        case .opened:
            opened += 1
            pauses.reset()
            lastReport = ""
            prompt.isAnswered = true
        case .notOpened:
            uncertain = prompt.volume
            prompt.isAnswered = true
        }
        answered += 1
        guard answered < Self.mostAnswers else {
            report("\(answered) prompts were answered; giving up; type the password on the console")
            return .gaveUp
        }
        return nil
    }

    private func handOverAgain(to prompt: Prompt, because why: String) {
        // Otherwise it is gone, and maybe another one is there.
        guard prompt === self.prompt else { return }
        if let pause = prompt.pauses.next() {
            handOverDue = BootTime.now().after(milliseconds: pause)
            if prompt.pauses.count == Prompt.quietPauses {
                report(why + "; trying again, or type the password on the console")
            }
        } else {
            prompt.isAnswered = true
            report(why + "; giving up on this prompt; type the password on the console")
        }
    }

    private func isRefused(by volume: String) -> Bool {
        refusers.contains { $0.utf8.elementsEqual(volume.utf8) }
    }

    // MARK: The end

    /// When to stop waiting; nil while there is something to wait for that ends by itself.
    private var waitingEnds: BootTime? {
        idleSince?.after(milliseconds: opened > 0 ? Self.longestWaitForNextPrompt : Self.longestWaitForPrompt)
    }

    private func endOfWaiting() -> Ending? {
        guard prompt == nil, handOver == nil, fetch == nil, fetchDue == nil else {
            idleSince = nil
            return nil
        }
        if idleSince == nil { idleSince = .now() }
        guard let end = waitingEnds, end <= .now() else { return nil }
        if opened > 0 { return .done }
        report("nobody has asked for the password; giving up; is \(Prompt.directory) cryptsetup's?")
        return .gaveUp
    }

    private static func areEqual(_ one: SecretBuffer, _ other: SecretBuffer) -> Bool {
        unsafe one.withBytes { one in unsafe other.withBytes { other in unsafe one.elementsEqual(other) } }
    }
}
