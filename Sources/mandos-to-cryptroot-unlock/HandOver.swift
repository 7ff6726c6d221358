import MandosFormats
import POSIXKit

/// A running cryptroot-unlock that answers the current prompt with a password; it is ended when this object is freed.
///
/// cryptroot-unlock finds the prompt and its process, passes on its standard input, and waits until the volume is open.
/// Source: README.initramfs of Debian's cryptsetup-initramfs.
final class HandOver {
    /// With and without a merged `/usr`.
    private static let paths = ["/bin/cryptroot-unlock", "/usr/bin/cryptroot-unlock"]
    static var path: String? { paths.first { isExecutable($0) } }

    /// Opens `/proc/1`, to be held open from before the local-top scripts until we end.
    ///
    /// cryptroot-unlock does nothing while cryptsetup's table is older than `/proc/1`. But the kernel sets that
    /// directory's time at the first access to it; if cryptroot-unlock were the first, the table would always be older.
    static func fixTimeOfBoot() throws(SystemError) -> FileDescriptor { try .directory("/proc/1") }

    /// In milliseconds, for a cryptroot-unlock that hangs. Its own limits, 10 s for the prompt and 10 s for the answer,
    /// are counted in polls, which take longer on a slow machine.
    private static let timeLimit: Int64 = 180_000
    private static let environment = ["PATH=/sbin:/usr/sbin:/bin:/usr/bin"]

    enum Outcome {
        /// The volume is open.
        case opened
        /// No volume was left to be opened; the password was not read.
        case nothingLeft
        /// cryptroot-unlock did not find the prompt; the password was not read.
        case notTaken(reason: String)
        /// The prompt got the password, but the volume is not open, or not yet.
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

    /// Whether it has begun to read the password, which it does once it has found the prompt.
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
        // Not reached: its output goes to /dev/null.
        case .tooMuchOutput: return .notOpened
        }
    }
}
