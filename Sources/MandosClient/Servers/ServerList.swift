import MandosFormats
import POSIXKit

/// The servers that are known, and when to try each one. Pure: does no input or output.
struct ServerList {
    private var servers: [KnownServer] = []
    var schedule: RetrySchedule

    /// Maximum number of servers from options and DNS; when it is reached, DNS adds no more.
    static let maximumNamed = 1000

    /// `retryInterval` is in milliseconds; nil means that each server is tried once.
    init(retryInterval: Int64?) { schedule = RetrySchedule(interval: retryInterval) }

    /// The server with this ID, if it is still known.
    subscript(id: Int) -> KnownServer? {
        get { servers.first { $0.id == id } }
        set {
            guard let newValue, let index = servers.firstIndex(where: { $0.id == id }) else { return }
            servers[index] = newValue
        }
    }

    // MARK: Becoming known

    /// Adds a server, which is due at once. `interface` is where it is announced.
    @discardableResult
    mutating func add(_ origin: KnownServer.Origin, interface: String? = nil, at now: BootTime) -> Int {
        let id = schedule.add(at: now)
        servers.append(KnownServer(origin, id: id, interface: interface))
        return id
    }

    /// Adds the servers that DNS names, except known ones, up to ``maximumNamed``.
    mutating func addFromDNS(_ names: [ServerName], at now: BootTime) {
        for name in names {
            let known = servers.compactMap { $0.name }
            if known.count < Self.maximumNamed, !known.contains(name) { add(.named(name), at: now) }
        }
    }

    /// Adds an address of a server that is announced on `interface`; a server that is not being tried is then due at once.
    ///
    /// - Returns: the ID of the server if it is new.
    mutating func announced(
        _ service: Discovery.Service, at address: SocketAddress, interface: String, isTrying: (Int) -> Bool,
        at now: BootTime
    ) -> Int? {
        if let index = index(of: service) {
            guard servers[index].add(address) else { return nil }
            if isTrying(servers[index].id) {
                servers[index].alsoTry(address, at: now)
            } else {
                schedule.renew(servers[index].id, at: now)
            }
            return nil
        }
        let id = add(.announced(service), interface: interface, at: now)
        _ = self[id]?.add(address)
        return id
    }

    /// Removes the addresses of one kind of an announced server, and the server with its last address.
    ///
    /// - Returns: the server if it was removed. Attempts under way go on; it is not tried again.
    mutating func withdrawn(_ service: Discovery.Service, isIPv6: Bool) -> KnownServer? {
        guard let index = index(of: service) else { return nil }
        servers[index].removeAddresses(isIPv6: isIPv6)
        guard servers[index].addresses.isEmpty else { return nil }
        schedule.remove(servers[index].id)
        return servers.remove(at: index)
    }

    private func index(of service: Discovery.Service) -> Int? {
        servers.firstIndex { server in
            if case .announced(let other) = server.origin { other == service } else { false }
        }
    }

    // MARK: Being tried

    /// The servers whose next address is due while another one is still silent.
    func nextAddressDue(at now: BootTime) -> [Int] {
        servers.filter { server in server.nextAddressDue.map { $0 <= now } ?? false }.map { $0.id }
    }

    /// When the next address of a server that is being tried is due.
    func nextAddressDue(isTrying: (Int) -> Bool) -> BootTime? {
        servers.filter { isTrying($0.id) }.compactMap { $0.nextAddressDue }.min()
    }
}
