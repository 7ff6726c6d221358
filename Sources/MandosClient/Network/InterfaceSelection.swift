import POSIXKit

/// Which network interfaces are used.
///
/// Source: mandos-client(8mandos) `--interface`.
public struct InterfaceSelection {
    /// Those that were named, in order; what is in it that is not up is taken up.
    private let named: [String]
    private let namedAfterNone: [String]
    /// "none" was among the names: no others than those before it are taken up.
    private let isClosed: Bool
    /// Servers are named: point-to-point interfaces and such as cannot broadcast may lead to them too.
    private let isForNamedServers: Bool

    /// `names` is what `--interface` has, everything between commas; empty names do not count.
    public init(names: [String], isForNamedServers: Bool) {
        let names = names.filter { !$0.utf8.isEmpty }
        let end = names.firstIndex { $0.utf8.elementsEqual("none".utf8) }
        named = Array(names[..<(end ?? names.endIndex)])
        namedAfterNone = end.map { Array(names[($0 + 1)...]) } ?? []
        isClosed = end != nil
        self.isForNamedServers = isForNamedServers
    }

    /// Whether servers are looked for through this interface.
    func uses(_ interface: NetworkInterface) -> Bool {
        if !named.isEmpty || !namedAfterNone.isEmpty { return (named + namedAfterNone).contains(interface.name) }
        return isSuitable(interface)
    }

    /// Whether this interface is taken up if it is not up.
    func takesUp(_ interface: NetworkInterface) -> Bool {
        if !named.isEmpty || isClosed { return named.contains(interface.name) }
        return isSuitable(interface)
    }

    /// The one to connect through, if exactly one is named.
    var only: String? { named.count == 1 ? named.first : nil }

    private func isSuitable(_ interface: NetworkInterface) -> Bool {
        if interface.isLoopback || interface.hasNoARP { return false }
        return isForNamedServers || (!interface.isPointToPoint && interface.canBroadcast)
    }
}

extension [String] {
    /// Comparing strings as text needs tables that are not in the initramfs.
    fileprivate func contains(_ name: String) -> Bool { contains { $0.utf8.elementsEqual(name.utf8) } }
}
