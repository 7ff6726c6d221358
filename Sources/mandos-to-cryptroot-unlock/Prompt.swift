import MandosFormats
import POSIXKit

/// A running askpass of cryptsetup: asks for a password on the console, and also reads it from its FIFO.
final class Prompt {
    private static let program = CryptTable.askpass
    static let directory = "/lib/cryptsetup"
    static let fifo = "passfifo"

    private let process: ForeignProcess
    /// The volume to unlock; "" if its environment does not name it.
    let volume: String
    /// Whether a keyscript asks: for a PIN, say, and not for the volume's password.
    let isKeyscripts: Bool
    /// Whether cryptsetup's scripts give the volume up if it refuses this prompt's answer; false if this is also the first
    /// try, without which no machine with `tries=1` would start by itself. Source: crypttab(5).
    let isLastTry: Bool

    /// Of `tries` in crypttab(5).
    private static let usualTries: Int64 = 3

    private init(_ process: consuming ForeignProcess) {
        volume = process.environmentValue("CRYPTTAB_NAME") ?? ""
        let keyscript = process.environmentValue("CRYPTTAB_OPTION_keyscript")
        isKeyscripts = keyscript.map { !$0.utf8.elementsEqual(Self.program.utf8) } ?? false
        let tried = Self.number("CRYPTTAB_TRIED", of: process) ?? 0
        let tries = Self.number("CRYPTTAB_OPTION_tries", of: process) ?? Self.usualTries
        // With 0, there is no last try.
        isLastTry = tried > 0 && tries > 0 && tried >= tries - 1
        self.process = process
    }

    private static func number(_ variable: String, of process: borrowing ForeignProcess) -> Int64? {
        process.environmentValue(variable).flatMap { decimalNumber($0.utf8) }
    }

    /// Becomes readable when the prompt has ended, however it was answered.
    var descriptor: Int32 { process.descriptor }

    var hasEnded: Bool { process.hasEnded }

    /// Finds the current prompt. Never opens the FIFO: opening and closing it would answer with an empty password.
    static func find() -> Prompt? {
        guard let process = ForeignProcess.find(running: program, holding: directory + "/" + fifo) else { return nil }
        return Prompt(process)
    }
}

/// Watches for prompts.
struct PromptWatch: ~Copyable {
    private let watch: DirectoryWatch
    // inotify reports an opened file shortly before it shows in /proc.
    private static let looksPerEvent = 11
    /// In milliseconds; doubles after each look.
    private static let firstPause: Int64 = 5

    /// The remaining looks; one at the start, since a prompt may exist already.
    private var looks = 1
    private var pause = PromptWatch.firstPause
    private var due = BootTime.now()
    /// Whether the directory was removed, as all of the initramfs is before the system is started.
    private(set) var isOver = false

    init() throws(SystemError) { watch = try DirectoryWatch.begin(Prompt.directory, for: .openings) }

    func register(in set: inout PollSet) {
        set.add(watch.descriptor)
        if looks > 0 { set.limit(to: due) }
    }

    /// Starts another series of looks; to be called when a prompt has ended, since the next one may exist.
    mutating func lookAgain() {
        looks = Self.looksPerEvent
        pause = Self.firstPause
        due = .now()
    }

    /// Reads the events of the FIFO; if `isWanted`, looks for a prompt when a look is due.
    mutating func advance(isWanted: Bool) -> Prompt? {
        for change in watch.changes() {
            switch change {
            case .opened(let name) where name.utf8.elementsEqual(Prompt.fifo.utf8): lookAgain()
            case .missed: lookAgain()
            case .ended: isOver = true
            case .opened, .written, .gone: break
            }
        }
        guard isWanted else {
            looks = 0
            return nil
        }
        guard looks > 0, due <= .now() else { return nil }
        if let prompt = Prompt.find() {
            looks = 0
            return prompt
        }
        looks -= 1
        due = BootTime.now().after(milliseconds: pause)
        pause *= 2
        return nil
    }
}
