import POSIXKit

/// A message from the process that looks for servers to the one that asks them. All messages have the same length.
///
/// A packet from the network may have taken over the process that looks for servers: nothing that it sends is trusted.
enum DiscoveryMessage: Equatable {
    typealias Service = Discovery.Service

    case found(Service, address: [UInt8], port: UInt16)
    /// The server is no longer announced.
    case removed(Announcement)
    /// There will be no more messages from this process; `code` is one of Avahi's.
    case failed(code: Int32)

    /// The length of each message, in bytes.
    static let length = 3 + longestName + 4 + 2 + longestAddress
    /// Source: RFC 1035 §2.3.4, labels.
    private static let longestName = 63
    private static let longestAddress = 16

    private var number: UInt8 {
        switch self {
        case .found: 1
        case .removed: 2
        case .failed: 3
        }
    }

    // MARK: Bytes

    var bytes: [UInt8] {
        var name: [UInt8] = []
        var value: UInt32 = 0
        var address: [UInt8] = []
        var port: UInt16 = 0
        switch self {
        case .failed(let code): value = UInt32(bitPattern: code)
        case .found(let service, let itsAddress, let itsPort):
            (name, value, address, port) = (service.name, service.interface, itsAddress, itsPort)
        case .removed(let announcement):
            (name, value) = (announcement.service.name, announcement.service.interface)
            address = [UInt8](repeating: 0, count: announcement.isIPv6 ? 16 : 4)
        }
        name = Array(name.prefix(Self.longestName))
        return [number, UInt8(name.count), UInt8(address.count)] + Self.filled(name, Self.longestName)
            + (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            + [UInt8(truncatingIfNeeded: port), UInt8(port >> 8)] + Self.filled(address, Self.longestAddress)
    }

    private static func filled(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: count - bytes.count)
    }

    /// Nil if `message` is not a message, or has an address or a port at which no server on a link can be.
    init?(_ message: ArraySlice<UInt8>) {
        guard message.count == Self.length else { return nil }
        let message = Array(message)
        let (nameCount, addressCount) = (Int(message[1]), Int(message[2]))
        guard nameCount <= Self.longestName else { return nil }
        let afterName = 3 + Self.longestName
        let value = message[afterName..<afterName + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        let service = Service(name: Array(message[3..<3 + nameCount]), interface: value)
        switch message[0] {
        case 1:
            let port = UInt16(message[afterName + 4]) | UInt16(message[afterName + 5]) << 8
            guard addressCount == 4 || addressCount == 16 else { return nil }
            let address = Array(message[(afterName + 6)...].prefix(addressCount))
            guard port != 0, SocketAddress(bytes: address, port: port, interface: value)?.isOrdinary ?? false else {
                return nil
            }
            self = .found(service, address: address, port: port)
        case 2: self = .removed(Announcement(service: service, isIPv6: addressCount == 16))
        case 3: self = .failed(code: Int32(bitPattern: value))
        default: return nil
        }
    }
}
