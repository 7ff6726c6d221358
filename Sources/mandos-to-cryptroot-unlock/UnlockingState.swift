import MandosFormats

/// Decides when a password is fetched, when it is handed over to a prompt, and when to end.
///
/// Starts no process and reads no clock: ``Unlocking`` passes events to it, and performs the actions it returns.
struct UnlockingState {
    enum Action {
        /// Run plugin-runner; then call ``fetched(password:)`` or ``fetchFailed(_:at:)``.
        case fetchPassword
        /// Write that password into the prompt's FIFO if `isDirect` and it can be done, or else run cryptroot-unlock with
        /// it; then call ``handedOver(_:at:)`` or ``handOverFailed(_:at:)``.
        case handOver(password: Int, isDirect: Bool)
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

    /// How often a prompt is tried directly, before cryptroot-unlock, which may be of another version than we know.
    static let directTries = 3

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
        /// Whether it asks for the volume's password.
        let isOurs: Bool
        /// Whether the volume is given up if it refuses the answer.
        let isLastTry: Bool
        var nextTry: BootTime?
        /// Pauses between tries to hand a password over, an hour in all: both the prompt and cryptsetup, which may start a
        /// moment later, need to be seen.
        var pauses = Backoff(first: 100, longest: 10_000, most: 360)
    }

    private enum Phase {
        case noPrompt
        case open(Prompt)
        case handingOver(Prompt)
        /// The prompt still exists; it has got a password from us, or will not get one.
        case answered
        /// The prompt ended with our password, and its volume is being unlocked; the next prompt may exist.
        case settling(volume: String, next: Prompt?)
    }

    private var fetch: Fetch
    /// Pauses before plugin-runner is run again.
    private var pauses = Backoff(first: 1000, longest: 60_000, most: 100)
    /// The number of the newest password.
    private var password: Int?
    /// The volumes that have got a password, with its number. One that asks again has refused it, and does not get it again,
    /// even if another password came between: each try counts against `tries` of crypttab(5), and users at the console need
    /// some too.
    private var receivers: [(volume: String, password: Int)] = []
    /// The number of the password that is being handed over.
    private var handedOver = 0
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

    /// Records a password from plugin-runner: equal passwords have the same number.
    mutating func fetched(password: Int) {
        fetch = .ended
        self.password = password
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

    /// Records a new prompt; `isOurs` if it asks for the volume's password, rather than for something a keyscript needs;
    /// `isLastTry` if an answer that the volume refuses is the last one.
    mutating func promptAppeared(volume: String, isOurs: Bool = true, isLastTry: Bool = false) {
        let prompt = Prompt(volume: volume, isOurs: isOurs, isLastTry: isLastTry)
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
        guard case .open(let prompt) = phase, prompt.isOurs, let password else { return nil }
        if prompt.isLastTry {
            phase = .answered
            return .report(prompt.volume + ": the last try is for people; " + Self.consoleHint)
        }
        if isRefused(by: prompt.volume) { return fetchAgain(prompt.volume + " has refused the password", at: now) }
        guard prompt.nextTry ?? now <= now else { return nil }
        phase = .handingOver(prompt)
        handedOver = password
        return .handOver(password: password, isDirect: prompt.pauses.count < Self.directTries)
    }

    /// Whether the volume has refused the newest password.
    private func isRefused(by volume: String) -> Bool {
        receivers.contains { $0.password == password && $0.volume.utf8.elementsEqual(volume.utf8) }
    }

    mutating func handedOver(_ outcome: HandOver.Outcome, at now: BootTime) -> Action? {
        switch outcome {
        case .nothingLeft: return .finish
        case .notTaken(let reason): return handOverFailed("cryptroot-unlock: " + reason, at: now)
        case .opened:
            opened += 1
            pauses.reset()
            lastReport = ""
        case .notOpened: break
        }
        if let volume = volumeOfHandOver { receivers.append((volume, handedOver)) }
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
        if case .open(let prompt) = phase, password != nil, !isRefused(by: prompt.volume), let time = prompt.nextTry {
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
