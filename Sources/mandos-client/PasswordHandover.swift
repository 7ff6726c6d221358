import MandosFormats
import POSIXKit

/// The supervisor's end of the pipe through which its worker hands the password over: the length in four bytes, and the password.
///
/// A worker may crash in the middle of it.
struct PasswordHandover: ~Copyable {
    private static let lengthSize = 4

    private let pipe: FileDescriptor
    private var length: Int?
    private var password = SecretBuffer(limit: 0)

    /// `pipe` must be non-blocking.
    init(_ pipe: consuming FileDescriptor) { self.pipe = pipe }

    /// Whether some of the password may be in our memory.
    var hasBegun: Bool { length != nil }

    func register(in set: inout PollSet) { set.add(pipe.number) }

    /// Reads what has come.
    ///
    /// - Returns: the password, once all of it has come.
    mutating func receive() -> SecretBuffer? {
        if length == nil {
            // So few bytes come in one piece; see pipe(7).
            var header = [UInt8](repeating: 0, count: Self.lengthSize)
            guard case .bytes(Self.lengthSize)? = try? pipe.read(into: &header) else { return nil }
            let count = header.reduce(0) { $0 << 8 | Int($1) }
            guard count > 0, count <= ProtocolLimits.largestSecret else { return nil }
            length = count
            password = SecretBuffer(limit: count)
        }
        _ = password.drain(pipe.number)
        return password.count == length ? password : nil
    }

    /// Hands `password` over, in the worker.
    ///
    /// - Returns: false if a signal has come before the end.
    static func send(
        _ password: SecretBuffer, to descriptor: Int32, until stop: borrowing StopSignals
    ) throws(SystemError) -> Bool {
        let length = (0..<lengthSize).reversed().map { UInt8(truncatingIfNeeded: password.count >> (8 * $0)) }
        try writeAll(length, to: descriptor)
        return try unsafe password.withBytes { (bytes) throws(SystemError) in
            try unsafe writeAll(bytes, to: descriptor, unless: stop.descriptor.number)
        }
    }
}
