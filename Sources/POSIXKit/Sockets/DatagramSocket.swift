import CMandosSystem

/// A Unix datagram socket. Source: unix(7).
public struct DatagramSocket: ~Copyable {
    private let socket: FileDescriptor

    public var descriptor: Int32 { socket.number }

    /// The maximum length of a socket's path, in bytes, without the final zero byte.
    public static var longestPath: Int { SocketAddress.longestPath }

    /// Creates a socket that sends to the one at `path`.
    ///
    /// - Throws: also if there is no socket (ENOENT), or no process has it open any more (ECONNREFUSED).
    public static func connected(to path: String) throws(SystemError) -> DatagramSocket {
        try unsafe make("connecting to " + path, path) { unsafe connect($0, $1, $2) }
    }

    /// Creates a socket that receives at `path`, where nothing may exist yet.
    public static func bound(to path: String) throws(SystemError) -> DatagramSocket {
        try unsafe make("making the socket " + path, path) { unsafe bind($0, $1, $2) }
    }

    private static func make(
        _ action: String, _ path: String, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemError) -> DatagramSocket {
        let address = try SocketAddress(path: path, action)
        let kind = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let socket = FileDescriptor(owning: try SystemError.check(action, CMandosSystem.socket(AF_UNIX, kind, 0)))
        try unsafe SystemError.check(action, address.withPointer { unsafe call(socket.number, $0, $1) })
        return DatagramSocket(socket: socket)
    }

    /// Sends all of `message`, or nothing; never waits.
    ///
    /// - Returns: false if the receiver's queue is full; the descriptor becomes writable once there is room.
    /// - Throws: also if the message exceeds the kernel's limit (EMSGSIZE).
    public borrowing func send(_ message: SecretBuffer) throws(SystemError) -> Bool {
        while true {
            let count = unsafe message.withBytes {
                unsafe CMandosSystem.send(
                    socket.number, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count >= 0 { return true }
            switch cmandos_errno() {
            case EINTR: continue
            case EAGAIN: return false
            default: throw SystemError("sending the password")
            }
        }
    }

    /// Receives the oldest message, cut off at `limit` bytes; nil if there is none. Never waits.
    public borrowing func receive(limit: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        return switch try? socket.read(into: &bytes) {
        case .bytes(let count): Array(bytes[..<count])
        case .end: []
        case .notReady, nil: nil
        }
    }
}
