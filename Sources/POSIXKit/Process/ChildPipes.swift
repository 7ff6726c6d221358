import CMandosSystem

/// The standard descriptors for a child that is about to be started.
public struct ChildPipes: ~Copyable {
    /// The child's standard input, output and error.
    public let standard: [Int32]
    var input: SecretInput?
    public var output: Pipe?
    public var errors: Pipe?
    // Open until the child has its own copy.
    private let nothing: FileDescriptor

    /// Makes a pipe for `input` and each captured output; /dev/null takes the place of input and output otherwise, and our
    /// standard error that of an error that is not captured.
    public static func make(
        input secret: SecretBuffer? = nil, capturesOutput: Bool = true, capturesErrors: Bool
    ) throws(SystemError) -> ChildPipes {
        let nothing = try FileDescriptor.nothing()
        var standard = [nothing.number, nothing.number, STDERR_FILENO]
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
    // Stays open here, so that the bytes that are left in the pipe can be counted.
    private let reading: FileDescriptor
    /// Nil when everything is written.
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

/// The reading end of a pipe that a child writes to; closed when all has been read.
public struct ChildOutput: ~Copyable {
    private var reading: FileDescriptor?

    /// Takes the reading end of `pipe`, which must not block, and closes the other one; nil if nothing is captured.
    public init(_ pipe: consuming Pipe?) {
        if let pipe = consume pipe { reading = pipe.keepReading() }
    }

    /// Whether more may come: some process has the writing end.
    public var isOpen: Bool { reading.number != nil }

    public func register(in set: inout PollSet) {
        if let number = reading.number { set.add(number) }
    }

    /// Takes what there is to read; what does not fit into `buffer` is dropped.
    public mutating func drain(into buffer: SecretBuffer) {
        if buffer.drain(reading.number) { reading = nil }
    }

    public mutating func close() { reading = nil }
}
