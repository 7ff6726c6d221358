import CMandosSystem

/// The standard descriptors of a child that is about to be started.
public struct ChildPipes: ~Copyable {
    /// The child's standard input, output and error.
    public let standard: [Int32]
    var input: SecretInput?
    public var output: Pipe?
    public var errors: Pipe?
    // Kept open until the child has its own copy.
    private let nothing: FileDescriptor?

    /// Creates a pipe for `input` and for each captured output. Otherwise, the child's input and output are /dev/null,
    /// and its standard error is ours, as is its input if `inheritsInput`.
    public static func make(
        input secret: SecretBuffer? = nil, inheritsInput: Bool = false, capturesOutput: Bool = true,
        capturesErrors: Bool
    ) throws(SystemError) -> ChildPipes {
        // Opened only if it is needed: a plugin has to start in an initramfs without it.
        let isNothingNeeded = (secret == nil && !inheritsInput) || !capturesOutput
        let nothing = isNothingNeeded ? try FileDescriptor.nothing() : nil
        let number = nothing.number ?? STDIN_FILENO
        var standard = [inheritsInput ? STDIN_FILENO : number, number, STDERR_FILENO]
        var input: SecretInput?
        if let secret {
            let pipe = try SecretInput(secret)
            standard[0] = pipe.descriptor
            input = consume pipe
        }
        let output = try outputPipe(capturesOutput, &standard[1])
        let errors = try outputPipe(capturesErrors, &standard[2])
        return ChildPipes(standard: standard, input: input, output: output, errors: errors, nothing: nothing)
    }

    private static func outputPipe(_ isCaptured: Bool, _ descriptor: inout Int32) throws(SystemError) -> Pipe? {
        guard isCaptured else { return nil }
        let pipe = try Pipe.make(nonBlocking: .reading)
        descriptor = pipe.writing.number
        return pipe
    }
}

/// A pipe that feeds a secret to a child's standard input.
struct SecretInput: ~Copyable {
    private let secret: SecretBuffer
    // Kept open here to count the bytes left in the pipe.
    private let reading: FileDescriptor
    /// Nil once everything is written.
    private var writing: FileDescriptor?
    private var written = 0

    init(_ secret: SecretBuffer) throws(SystemError) {
        let pipe = try Pipe.make(nonBlocking: .writing)
        self.secret = secret
        reading = consume pipe.reading
        writing = consume pipe.writing
    }

    /// The child's standard input.
    var descriptor: Int32 { reading.number }

    func register(in set: inout PollSet) {
        if let writing = writing.number { set.add(writing, for: .writing) }
    }

    /// Writes as much as the pipe takes, and closes it after the last byte.
    mutating func feed() {
        guard writing.number != nil else { return }
        while written < secret.count {
            let transfer = unsafe secret.withBytes { bytes in
                try? unsafe writing?.write(UnsafeRawBufferPointer(rebasing: bytes[written...]))
            }
            guard let transfer, case .bytes(let count) = transfer else { return }
            written += count
        }
        writing = nil
    }

    /// Whether the child has begun to read.
    var isTaken: Bool { cmandos_unread(reading.number) < written }
}

/// The reading end of a pipe that a child writes to; closed at end of file.
public struct ChildOutput: ~Copyable {
    private var reading: FileDescriptor?

    /// Takes the reading end of `pipe`, which must be non-blocking, and closes the other; nil if nothing is captured.
    public init(_ pipe: consuming Pipe?) {
        if let pipe = consume pipe { reading = pipe.keepReading() }
    }

    /// Whether more output may come: end of file has not been read.
    public var isOpen: Bool { reading.number != nil }

    public func register(in set: inout PollSet) {
        if let number = reading.number { set.add(number) }
    }

    /// Reads the available output; drops bytes that do not fit into `buffer`.
    public mutating func drain(into buffer: SecretBuffer) {
        if buffer.drain(reading.number) { reading = nil }
    }

    public mutating func close() { reading = nil }
}
