import MandosFormats
import POSIXKit

/// A question for a password that cryptsetup's askpass has on the console, and takes an answer to through its FIFO.
final class Prompt {
    private static let program = "/lib/cryptsetup/askpass"
    static let directory = "/lib/cryptsetup"
    static let fifo = "passfifo"

    private let process: ObservedProcess
    /// The volume that it is for; "" if it does not say.
    let volume: String
    /// It has got a password from us, or will not take any.
    var isAnswered = false
    /// Pauses between tries to hand a password over to it: cryptsetup, for which it asks, may start a moment later, and
    /// cryptroot-unlock wants to see both. An hour of them.
    var pauses = Backoff(first: 100, longest: 10_000, most: 360)
    /// After so many of them, 3 s, it is no matter of a moment any more, and told.
    static let quietPauses = 5

    private init(_ process: consuming ObservedProcess) {
        volume = process.environmentValue("CRYPTTAB_NAME") ?? ""
        self.process = process
    }

    /// Readable when it is gone, whoever answered.
    var descriptor: Int32 { process.descriptor }

    /// The one that is there, if any. Never opens the FIFO: to open and close it is to answer with an empty password.
    static func find() -> Prompt? {
        guard let process = ObservedProcess.find(running: program, holding: directory + "/" + fifo) else { return nil }
        return Prompt(process)
    }
}

/// Waits for prompts.
struct PromptWatch: ~Copyable {
    private let watch: DirectoryWatch
    // Whoever opens a file is told about shortly before it shows in /proc.
    private static let looksPerEvent = 11
    /// In milliseconds; it doubles from look to look.
    private static let firstPause: Int64 = 5

    /// One may be there already.
    private var looks = 1
    private var pause = PromptWatch.firstPause
    private var due = BootTime.now()

    init() throws(SystemError) { watch = try DirectoryWatch.begin(Prompt.directory, for: .openings) }

    func register(in set: inout PollSet) {
        set.add(watch.descriptor)
        if looks > 0 { set.limit(to: due) }
    }

    /// To be called when a prompt is gone: the next one may be there.
    mutating func lookAgain() {
        looks = Self.looksPerEvent
        pause = Self.firstPause
        due = .now()
    }

    /// Takes notice of what happened to the FIFO; if `isWanted`, looks for a prompt as far as there is reason to.
    mutating func advance(isWanted: Bool) -> Prompt? {
        let wasOpened = watch.changes().contains { change in
            switch change {
            case .opened(let name): name.utf8.elementsEqual(Prompt.fifo.utf8)
            case .missed: true
            case .written, .gone: false
            }
        }
        if wasOpened { lookAgain() }
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
