public import MandosFormats

/// A child whose standard input, output and error are pipes; it ends, with its process group, when this object goes.
///
/// Its output is kept as a secret, since a password may be in it. Of its standard error, the beginning is kept for messages.
public final class PipedChild {
    public enum Outcome: Equatable {
        case ended(TerminationStatus)
        /// It wrote as much as its output may hold, or more, and was ended.
        case tooMuchOutput
    }

    private static let errorLimit = 4096

    public let output: SecretBuffer
    private let errors = SecretBuffer(limit: PipedChild.errorLimit)

    private let process: ChildProcess
    private let teardown: Teardown?
    private let recipient: ChildProcess.Recipient
    private var outcome: Outcome?
    private var inputPipe: SecretInput?
    private var outputPipe: ChildOutput
    private var errorPipe: ChildOutput

    /// Takes over `process`, which was started with `pipes`; its output is appended to `output`.
    ///
    /// The child is ended by `teardown`, whose SIGTERM `recipient` gets, or at once if there is none.
    public init(
        _ process: consuming ChildProcess, _ pipes: consuming ChildPipes, output: SecretBuffer,
        teardown: Teardown? = nil, signalling recipient: ChildProcess.Recipient = .process
    ) {
        self.process = process
        self.output = output
        self.teardown = teardown
        self.recipient = recipient
        inputPipe = pipes.input.take()
        outputPipe = ChildOutput(pipes.output.take())
        errorPipe = ChildOutput(pipes.errors.take())
    }

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only.
    public static func start(
        _ path: String, arguments: [String], environment: [String], input: SecretBuffer?, outputLimit: Int
    ) throws(SystemError) -> PipedChild {
        let pipes = try ChildPipes.make(input: input, capturesErrors: true)
        let process = try ChildProcess.start(
            path, arguments: arguments, environment: environment, standard: pipes.standard)
        return PipedChild(process, pipes, output: SecretBuffer(limit: outputLimit))
    }

    deinit { end() }

    /// Whether it has begun to read its input.
    public var hasReadInput: Bool { inputPipe?.isTaken ?? false }

    /// The last line that it wrote to standard error; that one usually tells most.
    public var lastErrorLine: String { errors.lastLine }

    /// Why it failed: its last error line, or else `status`.
    public func reason(of status: TerminationStatus) -> String {
        lastErrorLine.utf8.isEmpty ? status.description : lastErrorLine
    }

    /// Waits for the events that ``advance()`` handles.
    public func register(in set: inout PollSet) {
        guard outcome == nil else { return }
        set.add(process.descriptor)
        inputPipe?.register(in: &set)
        outputPipe.register(in: &set)
        errorPipe.register(in: &set)
    }

    /// Writes its input and reads its output, as far as that is possible without waiting.
    ///
    /// - Returns: the outcome, once it has ended.
    public func advance() -> Outcome? {
        guard outcome == nil else { return outcome }
        // Before its output is read, so that nothing it wrote before its end is missed.
        let hasEnded = process.hasEnded
        inputPipe?.feed()
        drain()
        if output.isFull {
            end()
            outcome = .tooMuchOutput
        } else if hasEnded {
            end()
        }
        return outcome
    }

    /// Ends it, and waits for that.
    public func end() {
        guard outcome == nil else { return }
        if let teardown, !process.hasEnded {
            outcome = .ended(process.end(by: teardown, signalling: recipient, waitDraining))
        } else {
            outcome = .ended(process.end())
        }
        outputPipe.close()
        errorPipe.close()
    }

    /// It may have to write before it can end.
    private func waitDraining(until deadline: BootTime) {
        while !process.hasEnded && BootTime.now() < deadline {
            var set = PollSet()
            set.add(process.descriptor)
            outputPipe.register(in: &set)
            errorPipe.register(in: &set)
            set.limit(to: deadline)
            set.wait()
            drain()
        }
    }

    private func drain() {
        outputPipe.drain(into: output)
        errorPipe.drain(into: errors)
        // It sees with its next write that nobody reads what is too much, and never waits for us.
        if output.isFull { outputPipe.close() }
    }
}
