import CMandosSystem

/// A stream socket that never blocks.
public struct StreamSocket: ~Copyable {
    private let descriptor: FileDescriptor

    public var number: Int32 { descriptor.number }

    private init(family: Int32) throws(SystemError) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = FileDescriptor(owning: try SystemError.check("opening a socket", socket(family, type, 0)))
    }

    /// Starts to connect; ``isConnected()`` tells when the connection is established.
    ///
    /// `interface`, if given, is the only one to use, as far as we have the privilege to restrict it.
    public static func connect(to address: SocketAddress, interface: String?) throws(SystemError) -> StreamSocket {
        let socket = try StreamSocket(family: address.family)
        socket.setOptionsForTCP()
        if let interface {
            // The restriction is optional: without the privilege for it, the routing table decides.
            _ = unsafe setsockopt(
                socket.number, SOL_SOCKET, SO_BINDTODEVICE, interface, socklen_t(interface.utf8.count))
        }
        let code = unsafe address.withPointer { unsafe CMandosSystem.connect(socket.number, $0, $1) }
        if code < 0 && cmandos_errno() != EINPROGRESS { throw SystemError("connecting") }
        return socket
    }

    /// Connects to the Unix socket at `path`.
    public static func connect(toPath path: String) throws(SystemError) -> StreamSocket {
        let socket = try StreamSocket(family: AF_UNIX)
        let address = try SocketAddress(path: path, "connecting to " + path)
        let code = unsafe address.withPointer { unsafe CMandosSystem.connect(socket.number, $0, $1) }
        try SystemError.check("connecting to " + path, code)
        return socket
    }

    /// Sets options to send small messages without delay, and to detect a vanished peer within a minute.
    private func setOptionsForTCP() {
        let tcp = Int32(IPPROTO_TCP)
        let options: [(level: Int32, option: Int32, value: Int32)] = [
            (tcp, TCP_NODELAY, 1), (SOL_SOCKET, SO_KEEPALIVE, 1),
            (tcp, TCP_KEEPIDLE, 30), (tcp, TCP_KEEPINTVL, 10), (tcp, TCP_KEEPCNT, 3),
        ]
        for (level, option, value) in options {
            var value = value
            _ = unsafe setsockopt(number, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    public func isConnected() throws(SystemError) -> Bool {
        var state = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
        guard unsafe poll(&state, 1, 0) == 1 else { return false }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &size)
        if code != 0 { throw SystemError("connecting", code: code) }
        return true
    }

    /// Receives into `buffer` without changing its size.
    public func receive(into buffer: inout [UInt8]) throws(SystemError) -> FileDescriptor.Transfer {
        try descriptor.read(into: &buffer)
    }

    public func send(_ bytes: [UInt8]) throws(SystemError) -> FileDescriptor.Transfer {
        try descriptor.write(bytes)
    }
}
