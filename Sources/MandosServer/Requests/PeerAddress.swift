import NIOCore

/// How addresses are written in logs: an IPv4 address as itself, also where it came over an IPv6 socket.
enum PeerAddress {
    static func host(of address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "unknown" }
        let mapped = "::ffff:"
        return text.hasPrefix(mapped) ? String(text.dropFirst(mapped.count)) : text
    }

    static func description(of address: SocketAddress?) -> String {
        let host = host(of: address)
        let port = address?.port.map { ":\($0)" } ?? ""
        return host.contains(":") ? "[\(host)]\(port)" : host + port
    }
}
