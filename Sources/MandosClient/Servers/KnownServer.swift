import MandosFormats
import POSIXKit

/// A server to ask: a name, or one address and port that were announced.
struct KnownServer {
    enum Origin {
        /// Named by `--connect`, `--server` or DNS.
        case named(ServerName)
        /// Announced by multicast DNS. Every address and port is a server of its own: anybody can announce wrong ones under the
        /// name of the right one.
        case announced(Discovery.Service, SocketAddress)
        /// A domain whose servers are looked up in DNS; not a server itself.
        case domain(String)
    }

    /// The server's ID in the ``RetrySchedule``.
    let id: Int
    let origin: Origin
    let description: String
    /// Whose address is announced.
    let peer: SocketAddress.Peer?
    /// It is not announced any more, and is forgotten once it has been tried.
    var isWithdrawn = false
    private var hasAskedForRoute = false
    private var reportedProblems: [String] = []

    private static let maximumReportedProblems = 16

    /// `interface` is the name of the interface on which the server is announced.
    init(_ origin: Origin, id: Int, interface: String?) {
        self.id = id
        self.origin = origin
        switch origin {
        case .named(let name): (description, peer) = (name.description, nil)
        case .domain(let domain): (description, peer) = (domain, nil)
        case .announced(let service, let address):
            peer = address.peer
            // Without control characters, which a console would obey.
            var name = ""
            for scalar in String(decoding: service.name, as: UTF8.self).unicodeScalars
            where scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value) {
                name.unicodeScalars.append(scalar)
            }
            description = "\"" + name + "\"" + (interface.map { " on " + $0 } ?? "")
        }
    }

    /// The server's name if it is a named one.
    var name: ServerName? {
        if case .named(let name) = origin { name } else { nil }
    }

    /// The announcement and the address if it was announced.
    var announcement: (service: Discovery.Service, address: SocketAddress)? {
        if case .announced(let service, let address) = origin { (service, address) } else { nil }
    }

    /// Whether it is announced on the same interface with this address, of `newPeer`, and port, under whatever name.
    func isAnnounced(on interface: UInt32, at address: SocketAddress, of newPeer: SocketAddress.Peer) -> Bool {
        guard peer == newPeer, let (service, itsAddress) = announcement else { return false }
        return service.interface == interface && itsAddress.isSame(as: address)
    }

    /// Whether it may be the same server as one that is announced with this name and address.
    func mayBeSame(
        as service: Discovery.Service, _ address: SocketAddress, of newPeer: SocketAddress.Peer
    ) -> Bool {
        guard let (itsService, itsAddress) = announcement else { return false }
        return itsService == service || (peer == newPeer && itsAddress.isSame(as: address))
    }

    /// Whether adding a route to its address is worth a try; true once.
    mutating func needsRoute() -> Bool {
        guard let address = announcement?.address, !address.isLinkLocal, !hasAskedForRoute else { return false }
        hasAskedForRoute = true
        return true
    }

    /// Whether a problem has not been reported yet; every retry would report it again.
    mutating func isNew(_ problem: String) -> Bool {
        guard !reportedProblems.contains(where: { $0.utf8.elementsEqual(problem.utf8) }) else { return false }
        reportedProblems = (reportedProblems + [problem]).suffix(Self.maximumReportedProblems)
        return true
    }
}

extension SocketAddress {
    func isSame(as other: SocketAddress) -> Bool { port == other.port && bytes == other.bytes }

    /// Whose address it is: a host, or for an IPv6 address that is not link-local, a network, where anybody can have 2⁶⁴.
    var peer: Peer {
        Peer((isIPv6 && !isLinkLocal ? bytes.prefix(8) : bytes.suffix(8)).reduce(0) { $0 << 8 | UInt64($1) })
    }

    typealias Peer = UInt64
}
