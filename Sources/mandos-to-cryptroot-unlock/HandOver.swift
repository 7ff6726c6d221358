import MandosFormats
import POSIXKit

/// A cryptroot-unlock that is given a password for the prompt that is there; it ends with this object.
///
/// It looks for the prompt and for who waits behind it, passes its standard input on, and waits until the volume is open.
/// Source: README.initramfs of Debian's cryptsetup-initramfs.
final class HandOver {
    /// Where it is, with and without a merged `/usr`.
    private static let paths = ["/bin/cryptroot-unlock", "/usr/bin/cryptroot-unlock"]
    static var path: String? { paths.first { isExecutable($0) } }

    /// Held open from before the scripts for local-top until we end.
    ///
    /// cryptroot-unlock does nothing while cryptsetup's table is older than `/proc/1`. But the kernel makes that directory, and
    /// its time, anew when somebody looks at it first; were that cryptroot-unlock, the table would always be older.
    static func fixTimeOfBoot() throws(SystemError) -> FileDescriptor { try .directory("/proc/1") }

    /// Its own limits of 10 s for the prompt and 10 s for the answer are counted in turns, which take longer on a slow
    /// machine; this one, in milliseconds, is for one that hangs.
    private static let longest: Int64 = 180_000
    private static let environment = ["PATH=/sbin:/usr/sbin:/bin:/usr/bin"]
    /// How much of what it says is kept for messages, in bytes.
    private static let diagnosticsLimit = 4096

    enum Outcome {
        /// The volume is open.
        case opened
        /// Nothing was left to be opened, and the password is unread.
        case nothingLeft
        /// It did not find the prompt; the password is unread.
        case notTaken(why: String)
        /// The prompt has the password, and the volume is not open, or not yet.
        case notOpened(why: String)
    }

    /// The prompt that it is for.
    let prompt: Prompt
    private let process: ChildProcess
    private let input: SecretInput
    private let errors: FileDescriptor
    private let diagnostics = SecretBuffer(limit: HandOver.diagnosticsLimit)
    private var areErrorsOver = false
    private var isOver = false
    private let deadline = BootTime.now().after(milliseconds: HandOver.longest)

    init(_ path: String, _ password: SecretBuffer, for prompt: Prompt) throws(SystemError) {
        self.prompt = prompt
        let nothing = try FileDescriptor.nothing()
        let errorPipe = try Pipe()
        try errorPipe.reading.setNonBlocking()
        input = try SecretInput(password)
        process = try ChildProcess.start(
            path, arguments: ["cryptroot-unlock"], environment: Self.environment,
            standard: [input.descriptor, nothing.number, errorPipe.writing.number])
        errors = errorPipe.keepReading()
    }

    deinit { if !isOver { process.endGroup() } }

    /// Whether it has begun to read the password, which it does when it has found the prompt.
    var isTaken: Bool { input.isTaken }

    func register(in set: inout PollSet) {
        set.add(process.descriptor)
        input.register(in: &set)
        if !areErrorsOver { set.add(errors.number) }
        set.limit(to: deadline)
    }

    /// - Returns: what came of it, once it has ended.
    func advance() -> Outcome? {
        input.feed()
        if !areErrorsOver { areErrorsOver = diagnostics.drain(errors.number) }
        guard let ending = process.endingWithGroup() else {
            if BootTime.now() < deadline { return nil }
            process.endGroup()
            isOver = true
            return isTaken ? .notOpened(why: "took too long") : .notTaken(why: "took too long")
        }
        isOver = true
        if !areErrorsOver { _ = diagnostics.drain(errors.number) }
        if ending == .exit(status: 0) { return isTaken ? .opened : .nothingLeft }
        return isTaken ? .notOpened(why: words(ending)) : .notTaken(why: words(ending))
    }

    /// The last line that it said.
    private func words(_ ending: TerminationStatus) -> String {
        let line = diagnostics.lastLine
        if !line.utf8.isEmpty { return line }
        switch ending {
        case .exit(let status): return "exit status \(status)"
        case .signal(let number): return "ended by signal \(number)"
        }
    }
}
