import MandosFormats

/// Decides when a password is fetched, when it is handed over to a prompt, and when to end.
///
/// Starts no process and reads no clock: ``Unlocking`` passes events to it, and performs the actions it returns.
struct UnlockingState {
    enum Action {
        /// Run plugin-runner; then call ``fetched(isNew:)`` or ``fetchFailed(_:at:)``.
        case fetchPassword
        /// Run cryptroot-unlock with the password; then call ``handedOver(_:at:)``.
        case handOver
        case cancelHandOver
        case report(String)
        case wait(until: BootTime?)
        /// Every volume that was asked for is open.
        case finish
        case giveUp(String)
    }

    /// How long a password waits for the first prompt, in milliseconds: the disk may appear late.
    static let longestWaitForPrompt: Int64 = 3_600_000
    /// The same for the prompt of the next volume.
    static let longestWaitForNextPrompt: Int64 = 300_000
    /// Maximum number of prompts that are answered.
    static let maximumAnswers = 100
    /// Failures to hand over are reported after this many pauses, 3 s.
    static let quietPauses = 5

    private static let consoleHint = "type the password on the console"

    private enum Fetch {
        case due(BootTime)
        case running
        case ended
    }

    /// An unanswered prompt.
    private struct Prompt {
        /// "" if unknown.
        let volume: String
        var nextTry: BootTime?
        /// Pauses between tries to hand a password over, an hour in all: cryptroot-unlock needs to see both the prompt
        /// and cryptsetup, which may start a moment later.
        var pauses = Backoff(first: 100, longest: 10_000, most: 360)
    }

    private enum Phase {
        case noPrompt
        case open(Prompt)
        case handingOver(Prompt)
        /// The prompt still exists; it has got a password from us, or will not get one.
        case answered
        /// The prompt ended with our password, and cryptroot-unlock waits for its volume; the next prompt may exist.
        case settling(volume: String, next: Prompt?)
    }

    private var fetch: Fetch
    /// Pauses before plugin-runner is run again.
    private var pauses = Backoff(first: 1000, longest: 60_000, most: 100)
    private var hasPassword = false
    /// The volumes that have refused this password. They do not get it again: each try counts against `tries` of
    /// crypttab(5), and users at the console need some too.
    private var refusers: [String] = []
    /// The volume that got this password, but was not open when cryptroot-unlock ended.
    private var uncertainVolume: String?
    private var phase = Phase.noPrompt
    private var answered = 0
    private var opened = 0
    private var idleSince: BootTime?
    private var lastReport = ""

    init(at now: BootTime) { fetch = .due(now) }

    /// Whether there is no prompt at the moment.
    var needsPrompt: Bool {
        switch phase {
        case .noPrompt, .settling(_, nil): true
        case .open, .handingOver, .answered, .settling: false
        }
    }

    /// The next action; after any but ``Action/wait(until:)``, call it again.
    mutating func next(at now: BootTime) -> Action {
        if case .due(let time) = fetch, time <= now {
            fetch = .running
            return .fetchPassword
        }
        return tryHandOver(at: now) ?? wait(at: now)
    }

    // MARK: The password

    /// Records a password from plugin-runner; `isNew` if it differs from the current one.
    mutating func fetched(isNew: Bool) {
        fetch = .ended
        guard isNew else { return }
        hasPassword = true
        refusers = []
    }

    mutating func fetchFailed(_ reason: String, at now: BootTime) -> Action? {
        fetch = .ended
        return fetchAgain(reason, at: now)
    }

    private mutating func fetchAgain(_ reason: String, at now: BootTime) -> Action? {
        guard case .ended = fetch else { return nil }
        guard let pause = pauses.next() else { return .giveUp(reason + "; giving up; " + Self.consoleHint) }
        fetch = .due(now.after(milliseconds: pause))
        // A repeated reason is reported once.
        guard !reason.utf8.elementsEqual(lastReport.utf8) else { return nil }
        lastReport = reason
        return .report(reason + "; trying again, or " + Self.consoleHint)
    }

    // MARK: The prompt

    mutating func promptAppeared(volume: String) {
        let prompt = Prompt(volume: volume)
        if case .settling(let former, _) = phase {
            phase = .settling(volume: former, next: prompt)
        } else {
            phase = .open(prompt)
        }
    }

    /// Records the end of the prompt; `isTaken` if a running cryptroot-unlock has begun to read the password.
    mutating func promptGone(isTaken: Bool) -> Action? {
        switch phase {
        case .handingOver(let prompt) where isTaken: phase = .settling(volume: prompt.volume, next: nil)
        case .handingOver:
            // Another program has answered: the next prompt must not get the password that was meant for this one.
            phase = .noPrompt
            return .cancelHandOver
        case .settling(let volume, _): phase = .settling(volume: volume, next: nil)
        case .noPrompt, .open, .answered: phase = .noPrompt
        }
        return nil
    }

    private mutating func tryHandOver(at now: BootTime) -> Action? {
        guard case .open(let prompt) = phase else { return nil }
        judge(prompt)
        if isRefused(by: prompt.volume) { return fetchAgain(prompt.volume + " has refused the password", at: now) }
        guard hasPassword, prompt.nextTry ?? now <= now else { return nil }
        phase = .handingOver(prompt)
        return .handOver
    }

    /// Records a refusal if a volume asks again right after it got our password. A failed cryptroot-unlock does not
    /// prove one: it also fails if cryptsetup takes longer than it waits.
    private mutating func judge(_ prompt: Prompt) {
        guard let volume = uncertainVolume else { return }
        uncertainVolume = nil
        if prompt.volume.utf8.elementsEqual(volume.utf8) { refusers.append(volume) }
    }

    private func isRefused(by volume: String) -> Bool {
        refusers.contains { $0.utf8.elementsEqual(volume.utf8) }
    }

    mutating func handedOver(_ outcome: HandOver.Outcome, at now: BootTime) -> Action? {
        switch outcome {
        case .nothingLeft: return .finish
        case .notTaken(let reason): return handOverFailed("cryptroot-unlock: " + reason, at: now)
        case .opened:
            opened += 1
            pauses.reset()
            lastReport = ""
        case .notOpened: uncertainVolume = volumeOfHandOver
        }
        endHandOver(.answered)
        answered += 1
        if answered < Self.maximumAnswers { return nil }
        return .giveUp("\(answered) prompts were answered; giving up; " + Self.consoleHint)
    }

    /// Schedules another try, since the prompt has not got the password.
    mutating func handOverFailed(_ reason: String, at now: BootTime) -> Action? {
        guard case .handingOver(var prompt) = phase else {
            endHandOver(.answered)
            return nil
        }
        guard let pause = prompt.pauses.next() else {
            phase = .answered
            return .report(reason + "; giving up on this prompt; " + Self.consoleHint)
        }
        prompt.nextTry = now.after(milliseconds: pause)
        phase = .open(prompt)
        guard prompt.pauses.count == Self.quietPauses else { return nil }
        return .report(reason + "; trying again, or " + Self.consoleHint)
    }

    private var volumeOfHandOver: String? {
        switch phase {
        case .handingOver(let prompt): prompt.volume
        case .settling(let volume, _): volume
        case .noPrompt, .open, .answered: nil
        }
    }

    /// Ends a hand-over; `current` becomes the phase if the prompt still exists.
    private mutating func endHandOver(_ current: Phase) {
        switch phase {
        case .handingOver: phase = current
        case .settling(_, let next?): phase = .open(next)
        case .settling(_, nil): phase = .noPrompt
        case .noPrompt, .open, .answered: break
        }
    }

    // MARK: The end

    private mutating func wait(at now: BootTime) -> Action {
        var deadline: BootTime?
        if case .due(let time) = fetch { deadline = time }
        if case .open(let prompt) = phase, hasPassword, !isRefused(by: prompt.volume), let time = prompt.nextTry {
            deadline = min(deadline ?? time, time)
        }
        guard case .ended = fetch, case .noPrompt = phase else {
            idleSince = nil
            return .wait(until: deadline)
        }
        let start = idleSince ?? now
        idleSince = start
        let limit = opened > 0 ? Self.longestWaitForNextPrompt : Self.longestWaitForPrompt
        let end = start.after(milliseconds: limit)
        if now < end { return .wait(until: end) }
        if opened > 0 { return .finish }
        return .giveUp("nobody has asked for the password; giving up; is /lib/cryptsetup cryptsetup's?")
    }
}
