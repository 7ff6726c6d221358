import CMandosSystem
import MandosFormats

/// Buffers output for a descriptor that may block, such as a stopped console, without blocking the caller.
public struct NonBlockingOutput {
    private let descriptor: Int32
    private var text: [UInt8] = []
    /// The number of bytes of `text` that are written.
    private var written = 0
    /// The number of bytes that a ready descriptor takes without blocking.
    private let pieceSize: Int

    /// The maximum size of the buffer, in bytes; output that does not fit is lost.
    private static let limit = 1 << 20

    public init(on descriptor: Int32) {
        self.descriptor = descriptor
        pieceSize = isatty(descriptor) == 1 ? 256 : Int(PIPE_BUF)
    }

    /// Adds output: all of it, or none if it does not fit.
    public mutating func say(_ more: [UInt8]) {
        text.removeFirst(written)
        written = 0
        if text.count + more.count <= Self.limit { text += more }
    }

    /// Drops the output that is not written yet.
    public mutating func forget() {
        text = []
        written = 0
    }

    /// Adds the events that ``advance(_:)`` handles.
    public func register(in set: inout PollSet) {
        if !text.isEmpty { set.add(descriptor, for: .writing) }
    }

    /// Writes a piece, if the descriptor is ready.
    public mutating func advance(_ set: PollSet) {
        if !text.isEmpty, set.isReady(descriptor, for: .writing) { _ = writePiece() }
    }

    /// Writes as much as the descriptor takes without blocking.
    public mutating func finish() {
        while !text.isEmpty {
            var set = PollSet()
            register(in: &set)
            set.limit(to: .now())
            set.wait()
            guard set.isReady(descriptor, for: .writing), writePiece() else { return }
        }
    }

    /// - Returns: whether the write succeeded.
    private mutating func writePiece() -> Bool {
        let count = unsafe text[written...].withUnsafeBufferPointer {
            unsafe write(descriptor, $0.baseAddress, min($0.count, pieceSize))
        }
        if count >= 0 {
            written += count
            if written == text.count { forget() }
            return true
        }
        // The descriptor has no reader any more, or is unusable for another reason.
        if ![EINTR, EAGAIN].contains(cmandos_errno()) { forget() }
        return false
    }
}
