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
