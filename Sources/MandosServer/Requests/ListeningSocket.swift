import Glibc
public import MandosCore

/// The socket on which the server accepts clients, bound and listening.
public struct ListeningSocket: Sendable {
    public let descriptor: Int32
    public let address: String
    public let port: UInt16

    /// The action that failed, and the reason.
    public struct Problem: Error, CustomStringConvertible {
        let action: String
        let reason: String

        init(_ action: String, errno code: Int32) {
            self.action = action
            reason = unsafe String(cString: strerror(code))
        }

        init(_ action: String, reason: String) {
            self.action = action
            self.reason = reason
        }

        public var description: String { "\(action): \(reason)" }
    }

    /// Opens the socket that the settings describe.
    ///
    /// Fails if it cannot be limited to the interface of the settings, also one that was inherited: the reference would then
    /// serve on all interfaces, where the operator did not want it.
    /// Source: mandos(8) `--address`, `--port`, `--interface`, `--no-ipv6`, `--socket`.
    public static func open(_ settings: ServerSettings) throws(Problem) -> ListeningSocket {
        if let inherited = settings.socket {
            let socket = try adopt(inherited)
            if let interface = settings.interface { try bind(inherited, toInterface: interface) }
            return socket
        }
        let family = settings.useIPv6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Problem("opening a socket", errno: errno) }
        do throws(Problem) {
            if settings.useIPv6 { try set(IPPROTO_IPV6, IPV6_V6ONLY, to: 0, on: descriptor) }
            if settings.port != nil { try set(SOL_SOCKET, SO_REUSEADDR, to: 1, on: descriptor) }
            if let interface = settings.interface { try bind(descriptor, toInterface: interface) }
            try bind(descriptor, settings)
            guard listen(descriptor, SOMAXCONN) == 0 else { throw Problem("listening", errno: errno) }
            return try adopt(descriptor)
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Sets the backlog to the kernel's maximum.
    func listenWithLongestBacklog() {
        // The socket listens already: if this fails, only the backlog stays as it was.
        _ = listen(descriptor, SOMAXCONN)
    }

    /// Another descriptor for the same socket, which the caller owns.
    func duplicate() throws(Problem) -> Int32 {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw Problem("duplicating the socket", errno: errno) }
        return copy
    }

    /// Takes a socket that already listens.
    private static func adopt(_ descriptor: Int32) throws(Problem) -> ListeningSocket {
        var accepts: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        let action = "using file descriptor \(descriptor) as the socket"
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) == 0 else {
            throw Problem(action, errno: errno)
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        guard accepts != 0 else { throw Problem(action, reason: "it is not a listening socket") }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var service = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let code = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe getsockname(descriptor, address, &length) == 0 else { return Int32(EAI_SYSTEM) }
                let numeric = NI_NUMERICHOST | NI_NUMERICSERV
                return unsafe getnameinfo(
                    address, length, &host, socklen_t(host.count), &service, socklen_t(service.count), numeric)
            }
        }
        guard code == 0, let port = UInt16(text(service)) else {
            throw Problem(action, reason: "it is not an Internet socket")
        }
        return ListeningSocket(descriptor: descriptor, address: text(host), port: port)
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func set(
        _ level: some BinaryInteger, _ option: Int32, to value: Int32, on descriptor: Int32
    ) throws(Problem) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe setsockopt(descriptor, Int32(level), option, &value, size) == 0 else {
            throw Problem("setting a socket option", errno: errno)
        }
    }

    private static func bind(_ descriptor: Int32, toInterface name: String) throws(Problem) {
        var bound = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        var size = socklen_t(bound.count)
        // systemd's BindToDevice= may have done this already, and only root may do it again.
        let isKnown = unsafe getsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, &bound, &size) == 0
        if isKnown && text(bound) == name { return }
        let result = unsafe name.withCString {
            unsafe setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, $0, socklen_t(strlen($0) + 1))
        }
        guard result == 0 else { throw Problem("binding to the interface \(name)", errno: errno) }
    }

    private static func bind(_ descriptor: Int32, _ settings: ServerSettings) throws(Problem) {
        let family = settings.useIPv6 ? AF_INET6 : AF_INET
        let host = settings.address ?? (settings.useIPv6 ? "::" : "0.0.0.0")
        let port = settings.port ?? 0
        let isLinkLocal = host.lowercased().hasPrefix("fe80:") && !host.contains("%")
        if isLinkLocal {
            guard let interface = settings.interface else {
                throw Problem("binding to address \(host)", reason: "a link-local address needs --interface too")
            }
            guard unsafe if_nametoindex(interface) > 0 else {
                throw Problem("binding to address \(host)", reason: "there is no interface \(interface)")
            }
        }
        var hints = unsafe addrinfo()
        unsafe hints.ai_family = family
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV
        var result: UnsafeMutablePointer<addrinfo>?
        let scoped = isLinkLocal ? settings.interface.map { "\(host)%\($0)" } ?? host : host
        let code = unsafe getaddrinfo(scoped, String(port), &hints, &result)
        guard code == 0, let address = unsafe result else {
            let wanted =
                settings.useIPv6 ? "an IPv6 address (an IPv4 one is written ::ffff:192.0.2.3)" : "an IPv4 address"
            throw Problem("binding to address \(scoped)", reason: "that is not \(wanted)")
        }
        defer { unsafe freeaddrinfo(address) }
        guard unsafe Glibc.bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 else {
            let place = port == 0 ? scoped : "\(scoped) port \(port)"
            throw Problem("binding to address \(place)", errno: errno)
        }
    }
}
