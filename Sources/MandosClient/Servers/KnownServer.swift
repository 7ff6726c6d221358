import MandosFormats
import POSIXKit

/// A server to ask, its addresses, and those of them that are still to be tried.
struct KnownServer {
    enum Origin {
        /// Named by `--connect`, `--server` or DNS.
        case named(ServerName)
        /// Announced by multicast DNS.
        case announced(Discovery.Service)
        /// A domain whose servers are looked up in DNS; not a server itself.
        case domain(String)
    }

    /// The server's ID in the ``RetrySchedule``.
    let id: Int
    let origin: Origin
    let description: String

    /// The addresses of an announced server. They are tried in turn, so that a server that answers gets one request.
    private(set) var addresses: [SocketAddress] = []
    /// The addresses that are left in the current round.
    private(set) var untried: ArraySlice<SocketAddress> = []
    /// When to try the next address although the previous one has not failed.
    private(set) var nextAddressDue: BootTime?
    /// An address has answered in the current round.
    private var hasAnswered = false
    private var routedAddresses: [[UInt8]] = []
    private var reportedProblems: [String] = []

    /// How long one address may be silent before the next one is tried as well, in milliseconds.
    private static let headStart: Int64 = 1000
    private static let maximumAddresses = 16
    private static let maximumReportedProblems = 16

    /// `interface` is the name of the interface on which the server is announced.
    init(_ origin: Origin, id: Int, interface: String?) {
        self.id = id
        self.origin = origin
        switch origin {
        case .named(let name): description = name.description
        case .domain(let domain): description = domain
        case .announced(let service):
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

    /// Adds an address; the oldest one goes if there are too many.
    ///
    /// - Returns: whether the address is new.
    mutating func add(_ address: SocketAddress) -> Bool {
        if addresses.contains(where: { $0.isSame(as: address) }) { return false }
        // The latest announcement is the most likely to hold.
        if addresses.count >= Self.maximumAddresses { addresses.removeFirst() }
        addresses.append(address)
        return true
    }

    /// Adds an address to the current round, unless another one has answered already.
    mutating func alsoTry(_ address: SocketAddress, at now: BootTime) {
        guard !hasAnswered, untried.count < Self.maximumAddresses else { return }
        untried.append(address)
        nextAddressDue = nextAddressDue ?? now.after(milliseconds: Self.headStart)
    }

    /// Whether adding a route to `address` is worth a try; true once for each address.
    mutating func needsRoute(to address: SocketAddress) -> Bool {
        guard !address.isLinkLocal, !routedAddresses.contains(address.bytes) else { return false }
        routedAddresses.append(address.bytes)
        return true
    }

    mutating func removeAddresses(isIPv6: Bool) {
        addresses.removeAll { $0.isIPv6 == isIPv6 }
        untried.removeAll { $0.isIPv6 == isIPv6 }
    }

    /// Begins a new round through all addresses.
    mutating func beginRound() {
        untried = addresses[...]
        hasAnswered = false
    }

    /// Takes the next address of the current round.
    mutating func nextAddress(at now: BootTime) -> SocketAddress? {
        let address = untried.popFirst()
        nextAddressDue = untried.isEmpty ? nil : now.after(milliseconds: Self.headStart)
        return address
    }

    /// Ends the current round: one address has answered, so the others are not needed.
    mutating func endRound() {
        hasAnswered = true
        untried = []
        nextAddressDue = nil
    }

    /// Whether a problem has not been reported yet; every retry would report it again.
    mutating func isNew(_ problem: String) -> Bool {
        guard !reportedProblems.contains(where: { $0.utf8.elementsEqual(problem.utf8) }) else { return false }
        reportedProblems = (reportedProblems + [problem]).suffix(Self.maximumReportedProblems)
        return true
    }
}

extension SocketAddress {
    func isSame(as other: SocketAddress) -> Bool { bytes == other.bytes && port == other.port }
}
