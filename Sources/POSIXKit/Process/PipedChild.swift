public import MandosFormats

/// A child whose standard input, output and error are pipes; ended, with its process group, when this object is freed.
///
/// Its output is kept as a secret, since it may contain a password; of its standard error, only the beginning is kept.
public final class PipedChild {
    public enum Outcome: Equatable {
        case ended(TerminationStatus)
        /// The output reached its limit, and the child was ended.
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

    /// Takes over `process`, which was started with `pipes`; appends its output to `output`.
    ///
    /// The child is ended by `teardown`, whose signals go to `recipient`, or killed at once if there is none.
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

    /// Starts the program at `path` with `arguments`, its own name first, and only `environment`.
    public static func start(
        _ path: String, arguments: [String], environment: [String], input: SecretBuffer?, outputLimit: Int
    ) throws(SystemError) -> PipedChild {
        let pipes = try ChildPipes.make(input: input, capturesErrors: true)
        let process = try ChildProcess.start(
            path, arguments: arguments, environment: environment, standard: pipes.standard)
        return PipedChild(process, pipes, output: SecretBuffer(limit: outputLimit))
    }

    deinit { end() }

    /// Whether the child has begun to read its input.
    public var hasReadInput: Bool { inputPipe?.isTaken ?? false }

    /// The last line of the child's standard error, which is usually the most useful one.
    public var lastErrorLine: String { errors.lastLine }

    /// The reason for the failure: the last error line, or else `status`.
    public func reason(of status: TerminationStatus) -> String {
        lastErrorLine.utf8.isEmpty ? status.description : lastErrorLine
    }

    /// Adds the events that ``advance()`` handles.
    public func register(in set: inout PollSet) {
        guard outcome == nil else { return }
        set.add(process.descriptor)
        inputPipe?.register(in: &set)
        outputPipe.register(in: &set)
        errorPipe.register(in: &set)
    }

    /// Writes the child's input and reads its output, as far as possible without waiting.
    ///
    /// - Returns: the outcome, once the child has ended.
    public func advance() -> Outcome? {
        guard outcome == nil else { return outcome }
        // Checked before reading, so that no output from before the end is missed.
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

    /// Ends the child, and waits for its end.
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

    /// Reads output while waiting: the child may have to write before it can end.
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
        // Closing the pipe makes the child's next write fail; it never waits for us.
        if output.isFull { outputPipe.close() }
    }
}
