import CMandosSystem
import POSIXKit

/// Facts that tell whether others use an interface: its master, its global addresses, and routes through it. What the kernel sets
/// up by itself does not count.
///
/// Source: rtnetlink(7).
struct InterfaceUse {
    /// The index of the bridge or bond that the interface is a port of; 0 if there is none.
    private(set) var master: UInt32 = 0
    /// In the order of the kernel's list.
    private(set) var globalAddresses: [[UInt8]] = []
    /// Whether a person or a program has added a route through it.
    private(set) var hasRoute = false

    /// - Throws: if the kernel's lists cannot be read.
    static func of(_ interface: UInt32) throws(SystemError) -> InterfaceUse {
        var use = InterfaceUse()
        for list in [RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE] {
            try forEachMessage(inList: list) { use.add($0, for: interface) }
        }
        return use
    }

    /// Whether others have begun to use the interface since `former` was read.
    func hasGrown(since former: InterfaceUse) -> Bool {
        (master != 0 && master != former.master) || (hasRoute && !former.hasRoute)
            || globalAddresses.contains { !former.globalAddresses.contains($0) }
    }

    /// Adds what one message of the kernel tells about `interface`.
    mutating func add(_ message: NetlinkMessage, for interface: UInt32) {
        switch Int(message.type) {
        case RTM_NEWLINK where message.number(at: 4) == interface:
            master = message.attribute(UInt16(IFLA_MASTER), after: 16)?.number ?? 0
        case RTM_NEWADDR where message.number(at: 4) == interface: addAddress(message)
        case RTM_NEWROUTE: hasRoute = hasRoute || isRoute(message, through: interface)
        default: break
        }
    }

    private mutating func addAddress(_ message: NetlinkMessage) {
        let flags = message.attribute(UInt16(IFA_FLAGS), after: 8)?.number ?? UInt32(message[2])
        // From a router's advertisement (RFC 4862), which reaches every interface that is up; "no prefix route" tells that a program
        // has processed it, not the kernel.
        let isAutomatic =
            Int32(message[0]) == AF_INET6 && flags & UInt32(IFA_F_TEMPORARY | IFA_F_MANAGETEMPADDR) != 0
            && flags & UInt32(IFA_F_NOPREFIXROUTE) == 0
        guard message[3] < UInt8(RT_SCOPE_LINK.rawValue), !isAutomatic,
            let address = message.attribute(UInt16(IFA_LOCAL), after: 8)
                ?? message.attribute(UInt16(IFA_ADDRESS), after: 8)
        else { return }
        globalAddresses.append(Array(address))
    }

    private func isRoute(_ message: NetlinkMessage, through interface: UInt32) -> Bool {
        // Those that the kernel makes for addresses, and from routers' messages.
        let automatic = [RTPROT_UNSPEC, RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA].map { UInt8($0) }
        guard !automatic.contains(message[5]) else { return false }
        if message.attribute(UInt16(RTA_OIF.rawValue), after: 12)?.number == interface { return true }
        // Structures of 8 bytes or more: their own length, and at 4 an interface. Source: <linux/rtnetlink.h>, rtnexthop.
        var hops = message.attribute(UInt16(RTA_MULTIPATH.rawValue), after: 12) ?? []
        while hops.count >= 8 {
            if hops.dropFirst(4).number == interface { return true }
            let length = (Int(hops.nativeUInt16) + 3) & ~3
            guard length >= 8 else { break }
            hops = hops.dropFirst(length)
        }
        return false
    }
}

/// One message of rtnetlink(7), without its header.
struct NetlinkMessage {
    let type: UInt16
    let bytes: ArraySlice<UInt8>

    /// The byte at an offset; 0 beyond the end.
    subscript(offset: Int) -> UInt8 { offset < bytes.count ? bytes[bytes.startIndex + offset] : 0 }

    /// The number of four bytes at an offset.
    func number(at offset: Int) -> UInt32? { bytes.dropFirst(offset).number }

    /// The contents of an attribute; the attributes begin after `size` bytes.
    func attribute(_ type: UInt16, after size: Int) -> ArraySlice<UInt8>? {
        var rest = bytes.dropFirst(size)
        while rest.count >= 4 {
            let length = Int(rest.nativeUInt16)
            guard length >= 4, length <= rest.count else { return nil }
            // Without the flags "nested" and "network byte order".
            if rest.dropFirst(2).nativeUInt16 & 0x3FFF == type { return rest.dropFirst(4).prefix(length - 4) }
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return nil
    }

    /// Splits what one read of a netlink socket has returned. Source: netlink(7).
    static func split(_ bytes: ArraySlice<UInt8>) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = bytes
        while let length = rest.number.map({ Int($0) }), length >= 16, length <= rest.count {
            messages.append(
                NetlinkMessage(type: rest.dropFirst(4).nativeUInt16, bytes: rest.prefix(length).dropFirst(16)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return messages
    }
}

/// Calls `body` with every message of one of the kernel's lists, such as RTM_GETADDR.
private func forEachMessage(inList list: Int, _ body: (NetlinkMessage) -> Void) throws(SystemError) {
    let action = "reading the state of the network"
    let socket = FileDescriptor(owning: try SystemError.check(action, cmandos_network_list(Int32(list))))
    // Longer than the kernel's messages. Source: netlink(7).
    var buffer = [UInt8](repeating: 0, count: 32_768)
    while case .bytes(let count) = try socket.read(into: &buffer) {
        for message in NetlinkMessage.split(buffer[..<count]) {
            switch Int32(message.type) {
            case NLMSG_DONE: return
            case NLMSG_ERROR: throw SystemError(action, code: -Int32(bitPattern: message.number(at: 0) ?? 0))
            default: body(message)
            }
        }
    }
}

extension ArraySlice<UInt8> {
    /// The first four bytes as a number in this machine's byte order; nil if there are fewer.
    fileprivate var number: UInt32? {
        guard count >= 4 else { return nil }
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt32.self) }
    }

    /// The first two bytes, which must exist, as a number in this machine's byte order.
    fileprivate var nativeUInt16: UInt16 {
        precondition(count >= 2)
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt16.self) }
    }
}
