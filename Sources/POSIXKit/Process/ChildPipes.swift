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
