import CMandosSystem
import MandosFormats

/// What is to be said on a descriptor that may take nothing for a while, such as a console that somebody has stopped: it is
/// kept until then, and keeps nobody waiting.
public struct NonBlockingOutput {
    private let descriptor: Int32
    private var text: [UInt8] = []
    /// How much of it is said.
    private var written = 0
    /// What a descriptor that is ready at all takes without holding the writer up, in bytes: of a terminal, a page at least.
    private let pieceSize: Int

    /// What is beyond so many bytes is lost.
    private static let limit = 1 << 20

    public init(on descriptor: Int32) {
        self.descriptor = descriptor
        pieceSize = isatty(descriptor) == 1 ? 256 : Int(PIPE_BUF)
    }

    /// Says it once there is room for it; all of it or nothing.
    public mutating func say(_ more: [UInt8]) {
        text.removeFirst(written)
        written = 0
        if text.count + more.count <= Self.limit { text += more }
    }

    /// Gives up saying what is not said yet.
    public mutating func forget() {
        text = []
        written = 0
    }

    /// Waits for what ``advance(_:)`` can act on.
    public func register(in set: inout PollSet) {
        if !text.isEmpty { set.add(descriptor, for: .writing) }
    }

    /// Says as much as is taken now.
    public mutating func advance(_ set: PollSet) {
        if !text.isEmpty, set.isReady(descriptor, for: .writing) { _ = writePiece() }
    }

    /// Says as much as is taken at once.
    public mutating func finish() {
        while !text.isEmpty {
            var set = PollSet()
            register(in: &set)
            set.limit(to: .now())
            set.wait()
            guard set.isReady(descriptor, for: .writing), writePiece() else { return }
        }
    }

    /// - Returns: whether some of it is said.
    private mutating func writePiece() -> Bool {
        let count = unsafe text[written...].withUnsafeBufferPointer {
            unsafe write(descriptor, $0.baseAddress, min($0.count, pieceSize))
        }
        if count >= 0 {
            written += count
            if written == text.count { forget() }
            return true
        }
        // There is nobody to say it to.
        if ![EINTR, EAGAIN].contains(cmandos_errno()) { forget() }
        return false
    }
}
