import CMandosSystem

/// Both ends of a pipe.
@frozen public struct Pipe: ~Copyable {
    public enum End: Sendable { case reading, writing }

    public let reading: FileDescriptor
    public let writing: FileDescriptor

    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check("making a pipe", cmandos_pipe(&ends))
        reading = FileDescriptor(owning: ends[0])
        writing = FileDescriptor(owning: ends[1])
    }

    /// Creates a pipe with one non-blocking end.
    public static func make(nonBlocking end: End) throws(SystemError) -> Pipe {
        let pipe = try Pipe()
        switch end {
        case .reading: try pipe.reading.setNonBlocking()
        case .writing: try pipe.writing.setNonBlocking()
        }
        return pipe
    }

    /// Returns the reading end; closes the writing end.
    public consuming func keepReading() -> FileDescriptor { consume reading }
}
