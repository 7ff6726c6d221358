/// The network interfaces to use.
///
/// Source: mandos-client(8mandos) `--interface`.
public struct InterfaceSelection {
    /// The only interfaces through which servers are looked for, if there are any.
    let names: [String]
    /// The names before "none": the only interfaces that are brought up if there are any, or if "none" was given.
    private let namesToBringUp: [String]
    private let hasNone: Bool
    private let isForNamedServers: Bool

    /// `names` are the values of `--interface`, split at commas; empty names are ignored. Point-to-point interfaces and those
    /// that cannot broadcast are used for named servers only.
    public init(names: [String], isForNamedServers: Bool) {
        let names = names.filter { !$0.utf8.isEmpty }
        let end = names.firstIndex { $0.utf8.elementsEqual("none".utf8) }
        namesToBringUp = Array(names[..<(end ?? names.endIndex)])
        self.names = namesToBringUp + (end.map { names[($0 + 1)...] } ?? [])
        hasNone = end != nil
        self.isForNamedServers = isForNamedServers
    }

    /// Whether servers are looked for through this interface.
    func uses(_ interface: NetworkInterface) -> Bool {
        names.isEmpty ? isSuitable(interface) : names.contains(interface.name)
    }

    /// Whether this interface is brought up if it is down.
    func bringsUp(_ interface: NetworkInterface) -> Bool {
        namesToBringUp.isEmpty && !hasNone ? isSuitable(interface) : namesToBringUp.contains(interface.name)
    }

    /// The interface to connect through, if exactly one is named.
    var only: String? { namesToBringUp.count == 1 ? namesToBringUp.first : nil }

    private func isSuitable(_ interface: NetworkInterface) -> Bool {
        if interface.isLoopback || interface.hasNoARP { return false }
        return isForNamedServers || (!interface.isPointToPoint && interface.canBroadcast)
    }
}

extension [String] {
    /// Compares bytes: comparing strings as text needs Unicode tables, which the initramfs does not have.
    fileprivate func contains(_ name: String) -> Bool { contains { $0.utf8.elementsEqual(name.utf8) } }
}
