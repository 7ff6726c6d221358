import POSIXKit

/// What the process that asks servers has the one that is root do.
enum NetworkRequest {
    /// Runs the network hooks; answered when all have run.
    case runHooks
    /// By its index: names change, as udev(7) changes them.
    case takeUp(interface: UInt32)
    /// A route to one host straight through an interface; `address` has 4 bytes, or 16.
    case addRoute(address: [UInt8], interface: String)
    /// Milliseconds since 1970.
    case setClock(forwardTo: Int64)
    /// The interfaces have come up, or will not: the kernel may talk again.
    case settled

    /// What it is answered with.
    var number: UInt8 {
        switch self {
        case .runHooks: 1
        case .takeUp: 2
        case .addRoute: 3
        case .setClock: 4
        case .settled: 5
        }
    }

    /// No message is longer, in bytes.
    static let longest = 64

    var message: [UInt8] {
        switch self {
        case .runHooks, .settled: [number]
        case .takeUp(let interface): [number] + (0..<4).map { UInt8(truncatingIfNeeded: interface >> ($0 * 8)) }
        case .addRoute(let address, let interface): [number, UInt8(address.count)] + address + Array(interface.utf8)
        case .setClock(let time): [number] + (0..<8).map { UInt8(truncatingIfNeeded: time >> ($0 * 8)) }
        }
    }

    /// Nil if `message` is none.
    init?(_ message: ArraySlice<UInt8>) {
        var rest = message
        switch rest.popFirst() {
        case 1: self = .runHooks
        case 2:
            guard rest.count == 4 else { return nil }
            self = .takeUp(interface: rest.reversed().reduce(0) { $0 << 8 | UInt32($1) })
        case 3:
            guard let count = rest.popFirst(), count == 4 || count == 16, rest.count > Int(count) else { return nil }
            let interface = String(decoding: rest.dropFirst(Int(count)), as: UTF8.self)
            self = .addRoute(address: Array(rest.prefix(Int(count))), interface: interface)
        case 4:
            guard rest.count == 8 else { return nil }
            self = .setClock(forwardTo: rest.reversed().reduce(0) { $0 << 8 | Int64($1) })
        case 5: self = .settled
        default: return nil
        }
    }
}
