import CMandosSystem

/// A socket address: IPv4 or IPv6 with its port, and its interface if link-local; or the path of a Unix socket.
public struct SocketAddress {
    private var storage: sockaddr_storage
    private let length: socklen_t

    fileprivate init(copying information: UnsafePointer<addrinfo>) {
        var storage = sockaddr_storage()
        length = unsafe min(information.pointee.ai_addrlen, socklen_t(MemoryLayout<sockaddr_storage>.size))
        let count = Int(length)
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            if let source = unsafe information.pointee.ai_addr {
                unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: source, count: count))
            }
        }
        self.storage = storage
    }

    /// Creates an address from 4 bytes (IPv4) or 16 (IPv6); `interface` is used for link-local addresses only.
    public init?(bytes: [UInt8], port: UInt16, interface: UInt32) {
        var storage = sockaddr_storage()
        switch bytes.count {
        case 4:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &address.sin_addr) { unsafe $0.copyBytes(from: bytes) }
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_in.self) }
        case 16:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { unsafe $0.copyBytes(from: bytes) }
            if Self.isLinkLocal(bytes) { address.sin6_scope_id = interface }
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_in6.self) }
        default: return nil
        }
        self.storage = storage
    }

    /// The address of a Unix socket. Source: unix(7).
    ///
    /// - Throws: ENAMETOOLONG, described with `action`.
    init(path: String, _ action: @autoclosure () -> String) throws(SystemError) {
        guard path.utf8.count <= Self.longestPath else { throw SystemError(action(), code: ENAMETOOLONG) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        var storage = sockaddr_storage()
        unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_un.self) }
        self.storage = storage
        length = socklen_t(MemoryLayout<sockaddr_un>.size)
    }

    /// The maximum length of a Unix socket's path, in bytes, without the final zero byte.
    static let longestPath = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// The IP address without the port: 4 bytes, or 16.
    public var bytes: [UInt8] {
        unsafe withUnsafeBytes(of: storage) { all in
            let isIPv4 = Int32(storage.ss_family) == AF_INET
            let start = isIPv4 ? 4 : 8
            return unsafe Array(all[start..<start + (isIPv4 ? 4 : 16)])
        }
    }

    public var port: UInt16 {
        // The port has the same offset in both families.
        unsafe withUnsafeBytes(of: storage) { unsafe UInt16($0[2]) << 8 | UInt16($0[3]) }
    }

    public var isIPv6: Bool { family == AF_INET6 }

    var family: Int32 { Int32(storage.ss_family) }

    /// Sets the interface of a link-local IPv6 address, unless it has one already; does nothing for other addresses.
    public mutating func setInterface(_ name: String) throws(SystemError) {
        guard needsInterface else { return }
        let index = unsafe if_nametoindex(name)
        if index == 0 { throw SystemError("interface " + name) }
        unsafe withIPv6 { unsafe $0.pointee.sin6_scope_id = index }
    }

    /// Whether this is a unicast address other than the unspecified or a loopback one.
    public var isOrdinary: Bool {
        let bytes = bytes
        if bytes.count == 4 { return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224 }
        // Not unspecified, loopback or IPv4-mapped, and not multicast.
        return bytes[0] != 0xFF && bytes.prefix(10).contains { $0 != 0 }
    }

    /// Whether the kernel has IPv6; the parameter `ipv6.disable=1` switches it off.
    public static var hasIPv6: Bool {
        let number = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { if number >= 0 { close(number) } }
        return number >= 0 || cmandos_errno() != EAFNOSUPPORT
    }

    /// Whether the kernel has a route to this address. Sends nothing.
    public var hasRoute: Bool {
        var copy = self
        copy.setPort(9)
        let number = socket(family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { return false }
        defer { close(number) }
        return unsafe copy.withPointer { unsafe connect(number, $0, $1) == 0 }
    }

    private mutating func setPort(_ port: UInt16) {
        // The port has the same offset in both families.
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes[2] = UInt8(port >> 8)
            unsafe bytes[3] = UInt8(truncatingIfNeeded: port)
        }
    }

    /// Whether this is a link-local IPv6 address.
    public var isLinkLocal: Bool { isIPv6 && Self.isLinkLocal(bytes) }

    private static func isLinkLocal(_ bytes: [UInt8]) -> Bool { bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 }

    /// Whether this address is link-local and lacks an interface.
    public var needsInterface: Bool {
        guard isLinkLocal else { return false }
        var copy = self
        return unsafe copy.withIPv6 { unsafe $0.pointee.sin6_scope_id == 0 }
    }

    private mutating func withIPv6<Result>(_ body: (UnsafeMutablePointer<sockaddr_in6>) -> Result) -> Result {
        unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { unsafe body($0) }
        }
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    /// Resolves a host; blocks as long as the resolver does, unless `isNumeric`, which accepts addresses only.
    public static func resolve(
        host: String, port: UInt16, isNumeric: Bool
    ) -> Result<[SocketAddress], ResolverError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_NUMERICSERV | (isNumeric ? AI_NUMERICHOST : 0)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else { return .failure(ResolverError(code: code)) }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = unsafe list
        while let information = unsafe next, addresses.count < mostAddresses {
            addresses.append(unsafe SocketAddress(copying: information))
            unsafe next = information.pointee.ai_next
        }
        return .success(addresses)
    }

    /// The maximum number of addresses to return for one name.
    private static let mostAddresses = 16
}

/// A failed lookup of a host name or address.
public struct ResolverError: Error, CustomStringConvertible {
    /// An error code of getaddrinfo(3).
    let code: Int32

    public init(code: Int32) { self.code = code }

    /// Whether the host is not a numeric address, or is an unknown name.
    public var isNotNumeric: Bool { code == EAI_NONAME }

    /// Whether no name server answered; that may change with the network.
    public var isTemporary: Bool { code == EAI_AGAIN }

    public var description: String { "looking up the address: " + (unsafe String(cString: gai_strerror(code))) }
}
