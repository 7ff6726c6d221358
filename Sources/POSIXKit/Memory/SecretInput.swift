import CMandosSystem

/// A secret on its way through a pipe to a program's standard input; it can tell whether the program has read of it.
public final class SecretInput {
    private let secret: SecretBuffer
    private let reading: FileDescriptor
    /// Nil when everything is written.
    private var writing: FileDescriptor?
    private var written = 0

    public init(_ secret: SecretBuffer) throws(SystemError) {
        let pipe = try Pipe()
        try pipe.writing.setNonBlocking()
        self.secret = secret
        reading = consume pipe.reading
        writing = consume pipe.writing
    }

    /// What is to be the program's standard input.
    public var descriptor: Int32 { reading.number }

    /// Waits for what ``feed()`` can act on.
    public func register(in set: inout PollSet) {
        if let writing = writing?.number { set.add(writing, for: .writing) }
    }

    /// Writes as much as the pipe takes; after everything comes the end.
    public func feed() {
        guard writing != nil else { return }
        while written < secret.count {
            let transfer = unsafe secret.withBytes { bytes in
                try? unsafe writing?.write(UnsafeRawBufferPointer(rebasing: bytes[written...]))
            }
            guard let transfer, case .bytes(let count) = transfer else { return }
            written += count
        }
        writing = nil
    }

    /// Whether somebody has begun to read.
    public var isTaken: Bool { cmandos_unread(reading.number) < written }
}
