import POSIXKit

/// A request to the ``NetworkHelper``, as a message.
enum NetworkRequest {
    /// Run the network hooks; answered when all have run.
    case runHooks
    /// Bring up an interface, given by its index: udev(7) changes names.
    case bringUp(interface: UInt32)
    /// Add a route to one host straight through an interface; `address` has 4 or 16 bytes.
    case addRoute(address: [UInt8], interface: String)
    /// Set the clock; in milliseconds since 1970.
    case setClock(forwardTo: Int64)
    /// The interfaces run, or will not: kernel messages may show on the console again.
    case settled
    /// Restore the network, and end. At the deadline, in milliseconds of ``BootTime``, the boot may go on, and nothing is touched any
    /// more; `Int64.max` if nothing goes on before the helper has ended.
    case restore(by: Int64)

    /// The first byte of the message, and the answer to it.
    var number: UInt8 {
        switch self {
        case .runHooks: 1
        case .bringUp: 2
        case .addRoute: 3
        case .setClock: 4
        case .settled: 5
        case .restore: 6
        }
    }

    /// A message of the helper that answers nothing, and only tells that it is alive.
    static let signOfLife: [UInt8] = [0]

    /// Maximum length of a message, in bytes.
    static let maximumLength = 64

    var message: [UInt8] {
        switch self {
        case .runHooks, .settled: [number]
        case .bringUp(let interface): [number] + (0..<4).map { UInt8(truncatingIfNeeded: interface >> ($0 * 8)) }
        case .addRoute(let address, let interface): [number, UInt8(address.count)] + address + Array(interface.utf8)
        case .setClock(let time), .restore(let time):
            [number] + (0..<8).map { UInt8(truncatingIfNeeded: time >> ($0 * 8)) }
        }
    }

    /// Nil if `message` is not a request.
    init?(_ message: ArraySlice<UInt8>) {
        var rest = message
        switch rest.popFirst() {
        case 1: self = .runHooks
        case 2:
            guard rest.count == 4 else { return nil }
            self = .bringUp(interface: rest.reversed().reduce(0) { $0 << 8 | UInt32($1) })
        case 3:
            guard let count = rest.popFirst(), count == 4 || count == 16, rest.count > Int(count) else { return nil }
            let interface = String(decoding: rest.dropFirst(Int(count)), as: UTF8.self)
            self = .addRoute(address: Array(rest.prefix(Int(count))), interface: interface)
        case 4:
            guard let time = Self.time(rest) else { return nil }
            self = .setClock(forwardTo: time)
        case 5: self = .settled
        case 6:
            guard let time = Self.time(rest) else { return nil }
            self = .restore(by: time)
        default: return nil
        }
    }

    private static func time(_ bytes: ArraySlice<UInt8>) -> Int64? {
        bytes.count == 8 ? bytes.reversed().reduce(0) { $0 << 8 | Int64($1) } : nil
    }
}
