import CMandosSystem
import MandosFormats
import POSIXKit

/// A password that was written into the FIFO of a prompt, until the cryptsetup to which the prompt passes it has ended.
///
/// Starts no process; cryptroot-unlock starts some for each process of the machine.
final class FIFOAnswer {
    private static let cryptsetup = "/sbin/cryptsetup"
    /// In bytes; the kernel writes that much into a FIFO as a whole, so that no prompt gets half a password.
    /// Source: pipe(7), PIPE_BUF.
    private static let longestPassword = Int(PIPE_BUF)
    /// The kernel's list of block devices, also of those that the device mapper made.
    private static let devices = "/sys/block"

    private let process: ForeignProcess
    private let volume: String

    /// Whether `password` can be given in this way, and its success can be told.
    static func canTake(_ password: SecretBuffer) -> Bool {
        (1...longestPassword).contains(password.count) && (try? namesOfFiles(inReadable: devices)) != nil
    }

    /// - Throws: if the prompt has not got the password: it has ended, or no cryptsetup waits for it, or not yet.
    init(to prompt: Prompt, _ password: SecretBuffer) throws(SystemError) {
        let variable = "CRYPTTAB_NAME"
        guard let process = ForeignProcess.find(running: Self.cryptsetup, variable: variable, value: prompt.volume)
        else { throw SystemError("finding the cryptsetup of " + prompt.volume, code: ESRCH) }
        self.process = process
        volume = prompt.volume
        // Nothing may fail between opening and writing: a FIFO that is closed again is an answer too, an empty one.
        guard !prompt.hasEnded else { throw SystemError("answering a prompt that has ended", code: ESRCH) }
        let path = Prompt.directory + "/" + Prompt.fifo
        let file = try FileDescriptor.open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
        // A file in place of the FIFO would keep the password.
        guard try file.attributes().isFIFO else { throw SystemError(path + " is no FIFO", code: EINVAL) }
        let transfer = try unsafe password.withBytes { (bytes) throws(SystemError) in try unsafe file.write(bytes) }
        // Not ready: it is full of what another program has written.
        guard transfer == .bytes(password.count) else { throw SystemError("writing into " + path, code: EAGAIN) }
    }

    func register(in set: inout PollSet) { set.add(process.descriptor) }

    /// - Returns: the outcome, once cryptsetup has ended. The device exists by then, if it is to exist at all.
    func advance() -> HandOver.Outcome? {
        guard process.hasEnded else { return nil }
        return Self.isOpen(volume) ? .opened : .notOpened
    }

    /// Whether the device mapper has a device of this name. Names in /dev/mapper may be changed by udev.
    private static func isOpen(_ volume: String) -> Bool {
        namesOfFiles(in: devices).contains { device in
            let name = try? readFile(devices + "/" + device + "/dm/name", limit: longestName)
            return name.map { trimmedEnd($0).elementsEqual(volume.utf8) } ?? false
        }
    }

    /// In bytes: DM_NAME_LEN of the kernel, and a line end.
    private static let longestName = 129

    private static func trimmedEnd(_ line: [UInt8]) -> ArraySlice<UInt8> {
        line.last == UInt8(ascii: "\n") ? line.dropLast() : line[...]
    }
}

/// A password on its way to a prompt, by one of two ways.
enum Delivery {
    case fifo(FIFOAnswer)
    case cryptrootUnlock(HandOver)

    /// Whether the prompt has got the password.
    var isTaken: Bool {
        switch self {
        case .fifo: true
        case .cryptrootUnlock(let handOver): handOver.isTaken
        }
    }

    func register(in set: inout PollSet) {
        switch self {
        case .fifo(let answer): answer.register(in: &set)
        case .cryptrootUnlock(let handOver): handOver.register(in: &set)
        }
    }

    func advance() -> HandOver.Outcome? {
        switch self {
        case .fifo(let answer): answer.advance()
        case .cryptrootUnlock(let handOver): handOver.advance()
        }
    }
}
