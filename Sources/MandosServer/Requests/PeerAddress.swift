import Glibc
import MandosFormats
import NIOCore

/// Peer addresses as they are logged and counted; an IPv4 address that came over an IPv6 socket is an IPv4 address.
enum PeerAddress {
    private static let mappedPrefix = "::ffff:"

    static func host(of address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "unknown" }
        return text.hasPrefix(mappedPrefix) ? String(text.dropFirst(mappedPrefix.count)) : text
    }

    static func description(of address: SocketAddress?) -> String {
        let host = host(of: address)
        let port = address?.port.map { ":\($0)" } ?? ""
        return host.contains(":") ? "[\(host)]\(port)" : host + port
    }

    /// The addresses that one peer may well have all of: an IPv4 address, or an IPv6 network of 64 bits, in which every machine
    /// chooses its addresses freely, also link-local ones.
    static func source(of address: SocketAddress?) -> String {
        let host = host(of: address)
        var bytes = [UInt8](repeating: 0, count: 16)
        guard host.contains(":"), unsafe inet_pton(AF_INET6, host, &bytes) == 1 else { return host }
        return Hexadecimal.encode(bytes.prefix(8)) + "/64"
    }
}
