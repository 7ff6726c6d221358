import CMandosSystem
import MandosFormats
import POSIXKit

/// A network interface of this machine, as it was at the time of reading.
///
/// Source: netdevice(7).
struct NetworkInterface: Sendable {
    let name: String
    /// As in `sin6_scope_id`.
    let index: UInt32
    let flags: Int32

    var isUp: Bool { has(IFF_UP) }
    /// Up, and able to carry packets.
    var isRunning: Bool { isUp && has(IFF_RUNNING) }
    var isLoopback: Bool { has(IFF_LOOPBACK) }
    var isPointToPoint: Bool { has(IFF_POINTOPOINT) }
    var canBroadcast: Bool { has(IFF_BROADCAST) }
    var hasNoARP: Bool { has(IFF_NOARP) }

    private func has(_ flag: some BinaryInteger) -> Bool { flags & Int32(truncatingIfNeeded: flag) != 0 }

    /// All interfaces that exist now.
    static func all() -> [NetworkInterface] {
        guard let list = unsafe if_nameindex() else { return [] }
        defer { unsafe if_freenameindex(list) }
        var interfaces: [NetworkInterface] = []
        var next = unsafe list
        while unsafe next.pointee.if_index != 0, let name = unsafe next.pointee.if_name {
            let flags = unsafe cmandos_interface_flags(name)
            // The interface may just have disappeared.
            if flags >= 0 {
                let interface = unsafe NetworkInterface(
                    name: String(cString: name), index: next.pointee.if_index, flags: flags)
                interfaces.append(interface)
            }
            unsafe next += 1
        }
        return interfaces
    }

    /// The interface called `name`, if it exists now.
    static func named(_ name: String) -> NetworkInterface? {
        let index = unsafe if_nametoindex(name)
        let flags = unsafe cmandos_interface_flags(name)
        return index == 0 || flags < 0 ? nil : NetworkInterface(name: name, index: index, flags: flags)
    }

    /// The current name of the interface with this index, if it exists now.
    static func name(of index: UInt32) -> String? {
        var name = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        guard unsafe if_indextoname(index, &name) != nil else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The interface with this index, if it exists now.
    static func with(index: UInt32) -> NetworkInterface? { name(of: index).flatMap { named($0) } }

    /// Brings the interface up or down. Needs CAP_NET_ADMIN.
    func setUp(_ isUp: Bool) throws(SystemError) {
        try unsafe SystemError.check(
            "bringing interface " + name + (isUp ? " up" : " down"), cmandos_set_interface_up(name, isUp))
    }
}

/// Notifications about changed interfaces and addresses. Source: rtnetlink(7).
struct NetworkEvents: ~Copyable {
    private let socket: FileDescriptor

    init() throws(SystemError) {
        socket = FileDescriptor(owning: try SystemError.check("watching the network", cmandos_network_events()))
    }

    func register(in set: inout PollSet) { set.add(socket.number) }

    /// Whether anything has changed since the last call; the interfaces themselves tell what.
    func haveCome() -> Bool {
        var haveCome = false
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            let transfer = unsafe buffer.withUnsafeMutableBytes { bytes in try? unsafe socket.read(into: bytes) }
            switch transfer {
            case .bytes: haveCome = true
            case .notReady, .end: return haveCome
            // The kernel has dropped some notifications.
            case nil: return true
            }
        }
    }
}

/// A route to one address straight through an interface, for a server on the same link whose address is in none of our
/// prefixes. Changing routes needs CAP_NET_ADMIN. Source: route(8).
struct HostRoute {
    let address: SocketAddress
    let interface: String

    func add() throws(SystemError) {
        try SystemError.check("adding a route through " + interface, change(true))
    }

    func remove() throws(SystemError) {
        try SystemError.check("removing a route through " + interface, change(false))
    }

    private func change(_ adding: Bool) -> Int32 {
        let bytes = address.bytes
        return unsafe cmandos_host_route(adding, bytes, Int32(bytes.count), interface)
    }
}
