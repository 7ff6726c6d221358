import MandosFormats
import POSIXKit

/// A server that is to be asked, and how we know of it.
struct KnownServer {
    enum Origin {
        /// By `--connect` or `--server`, or because DNS names it.
        case named(ServerName)
        case announced(Discovery.Service)
        /// Not a server itself: DNS is to tell which there are in this domain.
        case domain(String)
    }

    /// What it is called in the ``RetrySchedule``.
    let id: Int
    let origin: Origin
    let description: String

    /// Where an announced server is. One after the other is tried, so that a server that answers hears us once.
    private(set) var addresses: [SocketAddress] = []
    /// Those that are left of them this time.
    private(set) var untried: ArraySlice<SocketAddress> = []
    /// When the next of them is tried although the one before has not failed yet.
    private(set) var nextAddressDue: BootTime?
    private var isSettled = false
    private var routed: [[UInt8]] = []
    private var toldProblems: [String] = []

    /// How long one address may be silent before the next one is tried too, in milliseconds.
    private static let headStart: Int64 = 1000
    /// Of one server, no more are remembered than this.
    private static let mostAddresses = 16
    private static let mostToldProblems = 16

    init(_ origin: Origin, id: Int) {
        self.id = id
        self.origin = origin
        switch origin {
        case .named(let name): description = "\(name)"
        case .domain(let domain): description = domain
        case .announced(let service):
            var name = ""
            for scalar in String(decoding: service.name, as: UTF8.self).unicodeScalars
            where scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value) {
                name.unicodeScalars.append(scalar)
            }
            let interface = NetworkInterface.name(of: service.interface).map { " on " + $0 } ?? ""
            description = "\"" + name + "\"" + interface
        }
    }

    /// - Returns: whether it was not known yet.
    mutating func add(_ address: SocketAddress) -> Bool {
        if addresses.contains(where: { $0.isSame(as: address) }) { return false }
        // What was said last is most likely so.
        if addresses.count >= Self.mostAddresses { addresses.removeFirst() }
        addresses.append(address)
        return true
    }

    /// An address has become known while others are being tried.
    mutating func alsoTry(_ address: SocketAddress, at now: BootTime) {
        guard !isSettled, untried.count < Self.mostAddresses else { return }
        untried.append(address)
        nextAddressDue = nextAddressDue ?? now.after(milliseconds: Self.headStart)
    }

    var isNamed: Bool {
        if case .named = origin { true } else { false }
    }

    /// Whether a route to `address` is worth a try, once.
    mutating func needsRoute(to address: SocketAddress) -> Bool {
        guard !address.isLinkLocal, !routed.contains(address.bytes) else { return false }
        routed.append(address.bytes)
        return true
    }

    mutating func removeAddresses(isIPv6: Bool) {
        addresses.removeAll { $0.isIPv6 == isIPv6 }
        untried.removeAll { $0.isIPv6 == isIPv6 }
    }

    mutating func beginAddresses() {
        untried = addresses[...]
        isSettled = false
    }

    mutating func nextAddress(at now: BootTime) -> SocketAddress? {
        let address = untried.popFirst()
        nextAddressDue = untried.isEmpty ? nil : now.after(milliseconds: Self.headStart)
        return address
    }

    /// One address has answered; the others are not needed this time.
    mutating func settle() {
        isSettled = true
        untried = []
        nextAddressDue = nil
    }

    /// Whether this was not said before: at every retry it would be said again.
    mutating func isNews(_ problem: String) -> Bool {
        guard !toldProblems.contains(where: { $0.utf8.elementsEqual(problem.utf8) }) else { return false }
        toldProblems = (toldProblems + [problem]).suffix(Self.mostToldProblems)
        return true
    }
}

extension SocketAddress {
    func isSame(as other: SocketAddress) -> Bool { bytes == other.bytes && port == other.port }
}
