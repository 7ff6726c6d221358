import CMandosSystem

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
