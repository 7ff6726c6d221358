import CMandosSystem
import MandosFormats

/// A program that is given bytes on its standard input and gives bytes back on its standard output.
///
/// It runs in a process group of its own, which ends with this object. Its output is kept as a secret, since a
/// password may be in it; of what it says on standard error, the beginning is kept for messages.
public final class PipedChild {
    /// How it ended.
    public enum Ending: Equatable {
        case exit(status: Int32)
        case signal(Int32)
        /// It wrote more than it was allowed.
        case tooMuchOutput
    }

    private static let diagnosticsLimit = 4096

    public let output: SecretBuffer
    private let errors = SecretBuffer(limit: PipedChild.diagnosticsLimit)

    private let process: ChildProcess
    private var ending: Ending?
    // Each is closed when there is nothing more to write or read.
    private var inputEnd: FileDescriptor?
    private var outputEnd: FileDescriptor?
    private var errorEnd: FileDescriptor?
    private let input: SecretBuffer
    private var written = 0

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only.
    public init(
        _ path: String, arguments: [String], environment: [String], input: SecretBuffer, outputLimit: Int
    ) throws(SystemError) {
        let standardInput = try Pipe()
        let standardOutput = try Pipe()
        let standardError = try Pipe()
        try standardInput.writing.setNonBlocking()
        try standardOutput.reading.setNonBlocking()
        try standardError.reading.setNonBlocking()
        process = try ChildProcess.start(
            path, arguments: arguments, environment: environment,
            standard: [standardInput.reading.number, standardOutput.writing.number, standardError.writing.number])
        self.input = input
        output = SecretBuffer(limit: outputLimit)
        inputEnd = consume standardInput.writing
        outputEnd = consume standardOutput.reading
        errorEnd = consume standardError.reading
    }

    deinit { if ending == nil { process.endGroup() } }

    /// What it said last on standard error.
    public var lastWords: String { errors.lastLine }

    /// Waits for what ``advance()`` can act on.
    public func register(in set: inout PollSet) {
        set.add(process.descriptor)
        if let end = inputEnd?.number { set.add(end, for: .writing) }
        if let end = outputEnd?.number { set.add(end) }
        if let end = errorEnd?.number { set.add(end) }
    }

    /// Gives it input and takes its output, as far as both are ready.
    ///
    /// - Returns: how it ended, once it has.
    public func advance() -> Ending? {
        if let ending { return ending }
        feed()
        if output.drain(outputEnd?.number) { outputEnd = nil }
        if errors.drain(errorEnd?.number) { errorEnd = nil }
        if output.isFull {
            process.endGroup()
            return end(.tooMuchOutput)
        }
        // Whatever it left behind in its group must not outlive it.
        guard let ending = process.endingWithGroup() else { return nil }
        // What it wrote before it ended may still be on its way.
        _ = output.drain(outputEnd?.number)
        _ = errors.drain(errorEnd?.number)
        return switch ending {
        case .exit(let status): end(.exit(status: status))
        case .signal(let number): end(.signal(number))
        }
    }

    private func end(_ ending: Ending) -> Ending {
        self.ending = ending
        inputEnd = nil
        outputEnd = nil
        errorEnd = nil
        return ending
    }

    private func feed() {
        guard inputEnd != nil else { return }
        while written < input.count {
            let transfer = unsafe input.withBytes { bytes in
                try? unsafe inputEnd?.write(UnsafeRawBufferPointer(rebasing: bytes[written...]))
            }
            switch transfer {
            case .bytes(let count): written += count
            case .notReady: return
            // It does not want the rest; its exit status tells whether that is an error.
            case .end, nil: written = input.count
            }
        }
        inputEnd = nil
    }
}
