import NIOCore

/// Peer addresses as they are logged; an IPv4 address that came over an IPv6 socket is written as IPv4.
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
