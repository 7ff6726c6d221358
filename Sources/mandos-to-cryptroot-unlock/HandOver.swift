import MandosFormats
import POSIXKit

/// A running cryptroot-unlock that is given a password for the current prompt; it ends with this object.
///
/// It looks for the prompt and for the process behind it, passes its standard input on, and waits until the volume is open.
/// Source: README.initramfs of Debian's cryptsetup-initramfs.
final class HandOver {
    /// With and without a merged `/usr`.
    private static let paths = ["/bin/cryptroot-unlock", "/usr/bin/cryptroot-unlock"]
    static var path: String? { paths.first { isExecutable($0) } }

    /// Held open from before the scripts for local-top until we end.
    ///
    /// cryptroot-unlock does nothing while cryptsetup's table is older than `/proc/1`. But the kernel makes that directory, and
    /// its time, anew at the first look at it; were that cryptroot-unlock's, the table would always be older.
    static func fixTimeOfBoot() throws(SystemError) -> FileDescriptor { try .directory("/proc/1") }

    /// Its own limits of 10 s for the prompt and 10 s for the answer are counted in turns, which take longer on a slow
    /// machine; this one, in milliseconds, is for a cryptroot-unlock that hangs.
    private static let timeLimit: Int64 = 180_000
    private static let environment = ["PATH=/sbin:/usr/sbin:/bin:/usr/bin"]

    enum Outcome {
        /// The volume is open.
        case opened
        /// Nothing was left to be opened, and the password is unread.
        case nothingLeft
        /// It did not find the prompt; the password is unread.
        case notTaken(reason: String)
        /// The prompt has the password, and the volume is not open, or not yet.
        case notOpened
    }

    private let process: PipedChild
    private let deadline = BootTime.now().after(milliseconds: HandOver.timeLimit)

    init(_ path: String, _ password: SecretBuffer) throws(SystemError) {
        let pipes = try ChildPipes.make(input: password, capturesOutput: false, capturesErrors: true)
        let child = try ChildProcess.start(
            path, arguments: ["cryptroot-unlock"], environment: Self.environment, standard: pipes.standard)
        process = PipedChild(child, pipes, output: SecretBuffer(limit: 1))
    }

    /// Whether it has begun to read the password, which it does when it has found the prompt.
    var isTaken: Bool { process.hasReadInput }

    func register(in set: inout PollSet) {
        process.register(in: &set)
        set.limit(to: deadline)
    }

    /// - Returns: the outcome, once it has ended.
    func advance() -> Outcome? {
        switch process.advance() {
        case nil where BootTime.now() < deadline: return nil
        case nil:
            process.end()
            return isTaken ? .notOpened : .notTaken(reason: "took too long")
        case .ended(.success): return isTaken ? .opened : .nothingLeft
        case .ended(let status): return isTaken ? .notOpened : .notTaken(reason: process.reason(of: status))
        // Its output goes to /dev/null.
        case .tooMuchOutput: return .notOpened
        }
    }
}
