import CMandosSystem

/// Two connected Unix sockets that keep the boundaries between messages; see unix(7), SOCK_SEQPACKET.
@frozen public struct SocketPair: ~Copyable {
    public let first: FileDescriptor
    public let second: FileDescriptor

    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check(
            "making a pair of sockets",
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends))
        first = FileDescriptor(owning: ends[0])
        second = FileDescriptor(owning: ends[1])
    }

    /// Returns the first socket; closes the second one.
    public consuming func keepFirst() -> FileDescriptor { consume first }
}

/// A message of a Unix socket that keeps the boundaries between messages; see unix(7), SOCK_SEQPACKET.
public struct ReceivedMessage: ~Copyable {
    public let bytes: [UInt8]
    /// The descriptor that came with it.
    private let descriptor: FileDescriptor?

    init(_ bytes: [UInt8], _ descriptor: consuming FileDescriptor?) {
        self.bytes = bytes
        self.descriptor = descriptor
    }

    /// The number of that descriptor, which is closed together with the message.
    public var number: Int32? { descriptor.number }
}

/// The result of receiving a message without waiting.
public enum Reception: ~Copyable {
    case message(ReceivedMessage)
    case notReady
    /// The other side has closed its socket, or has ended.
    case end
}

extension FileDescriptor {
    /// Sends one message of two parts, and a copy of `descriptor` with it; waits while the receiver's queue is full.
    public func send(_ first: [UInt8], _ second: [UInt8] = [], passing descriptor: Int32? = nil) throws(SystemError) {
        let parts = first.span
        let others = second.span
        while true {
            let count = unsafe parts.withUnsafeBytes { first in
                unsafe others.withUnsafeBytes { second in
                    unsafe cmandos_send_message(
                        number, cmandos_part(bytes: first.baseAddress, size: first.count),
                        cmandos_part(bytes: second.baseAddress, size: second.count), descriptor ?? -1)
                }
            }
            if count >= 0 { return }
            if cmandos_errno() != EINTR { throw SystemError("sending a message") }
        }
    }

    /// Sending gives up, with EAGAIN, when the receiver's queue has been full for this time.
    public func limitSending(seconds: Int) throws(SystemError) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        try unsafe SystemError.check(
            "setting a time limit",
            setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size)))
    }

    /// Receives a message into `buffer`, which must be large enough; never waits.
    public func receive(into buffer: inout [UInt8]) -> Reception {
        var passed: Int32 = -1
        let size = buffer.count
        let count = unsafe buffer.withUnsafeMutableBytes { bytes -> Int in
            guard let start = bytes.baseAddress else { return 0 }
            return unsafe cmandos_receive_message(number, start, size, &passed)
        }
        if count > 0 {
            return .message(
                ReceivedMessage(Array(buffer[..<count]), passed < 0 ? nil : FileDescriptor(owning: passed)))
        }
        guard count < 0 else { return .end }
        return [EAGAIN, EINTR].contains(cmandos_errno()) ? .notReady : .end
    }
}
