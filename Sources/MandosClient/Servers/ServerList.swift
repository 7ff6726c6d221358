import MandosFormats
import POSIXKit

/// The servers that are known, and when to try each one. Pure: does no input or output.
struct ServerList {
    private var servers: [KnownServer] = []
    var schedule: RetrySchedule
    private let random: (_ below: Int) -> Int

    /// Maximum number of servers from options and DNS; when it is reached, DNS adds no more.
    static let maximumNamed = 1000
    /// Maximum number of addresses and ports that are announced.
    private let maximumAnnounced: Int
    /// How much later a server is tried that may be the same as one that is being tried, in milliseconds: so that a server with
    /// several addresses, which answers at the first, gets one request.
    private static let headStart: Int64 = 1000

    /// `retryInterval` is in milliseconds; nil means that each server is tried once.
    init(
        retryInterval: Int64?, maximumAnnounced: Int = 768,
        random: @escaping (_ below: Int) -> Int = { Int(randomNumber(below: UInt32($0))) }
    ) {
        schedule = RetrySchedule(interval: retryInterval, random: random)
        self.random = random
        self.maximumAnnounced = maximumAnnounced
    }

    /// The server with this ID, if it is still known.
    subscript(id: Int) -> KnownServer? {
        get { servers.first { $0.id == id } }
        set {
            guard let newValue, let index = servers.firstIndex(where: { $0.id == id }) else { return }
            servers[index] = newValue
        }
    }

    var announcedCount: Int { servers.count { $0.peer != nil } }

    // MARK: Becoming known

    /// Adds a server from options or DNS, which is due at once.
    mutating func add(_ origin: KnownServer.Origin, at now: BootTime) {
        servers.append(KnownServer(origin, id: schedule.add(at: now), interface: nil))
    }

    /// Adds the servers that DNS names, except known ones, up to ``maximumNamed``.
    mutating func addFromDNS(_ names: [ServerName], at now: BootTime) {
        for name in names {
            let known = servers.compactMap { $0.name }
            if known.count < Self.maximumNamed, !known.contains(name) { add(.named(name), at: now) }
        }
    }

    /// Adds an address at which a server is announced on `interface`, unless it is known.
    ///
    /// - Returns: the ID of the server if it is new.
    mutating func announced(
        _ service: Discovery.Service, at address: SocketAddress, interface: String, isTrying: (Int) -> Bool,
        at now: BootTime
    ) -> Int? {
        let peer = address.peer
        if let index = servers.firstIndex(where: { $0.isAnnounced(on: service.interface, at: address, of: peer) }) {
            servers[index].isWithdrawn = false
            return nil
        }
        if announcedCount >= maximumAnnounced { forgetOne(newest: service.interface, peer) }
        let isHeldBack = servers.contains { $0.mayBeSame(as: service, address, of: peer) && isTrying($0.id) }
        let due = isHeldBack ? now.after(milliseconds: Self.headStart) : now
        let id = schedule.add(at: due, peer: peer)
        servers.append(KnownServer(.announced(service, address), id: id, interface: interface))
        return id
    }

    /// Removes an announced server of the interface, and there of the peer, that have most: one that has been tried rather than
    /// one that has not. Otherwise a random one, so that no announcer can choose whose it is.
    private mutating func forgetOne(newest interface: UInt32, _ peer: SocketAddress.Peer) {
        var victims = servers.indices.filter { servers[$0].peer != nil }
        let tried = victims.filter { !schedule.isNew(servers[$0].id) }
        if !tried.isEmpty { victims = tried }
        victims = Self.mostCrowded(victims, newest: UInt64(interface)) {
            UInt64(servers[$0].announcement?.service.interface ?? 0)
        }
        victims = Self.mostCrowded(victims, newest: peer) { servers[$0].peer ?? 0 }
        _ = remove(at: victims[random(victims.count)])
    }

    /// Those of `servers` whose group is largest; the newest server counts too.
    private static func mostCrowded(_ servers: [Int], newest: UInt64, group: (Int) -> UInt64) -> [Int] {
        let sorted = servers.map { (server: $0, group: group($0)) }.sorted { $0.group < $1.group }
        var largest: ArraySlice<(server: Int, group: UInt64)> = []
        var most = 0
        var rest = sorted[...]
        while let first = rest.first {
            let same = rest.prefix { $0.group == first.group }
            rest = rest.dropFirst(same.count)
            let count = same.count + (first.group == newest ? 1 : 0)
            if count > most { (largest, most) = (same, count) }
        }
        return largest.map { $0.server }
    }

    /// The announcement of a server has been withdrawn, for its addresses of one kind. Those that have not been tried keep their
    /// turn: anybody can withdraw announcements.
    ///
    /// - Returns: the servers that were removed. Attempts under way go on; they are not tried again.
    mutating func withdrawn(_ announcement: Announcement) -> [KnownServer] {
        var removed: [KnownServer] = []
        for index in servers.indices.reversed() {
            guard let (service, address) = servers[index].announcement, service == announcement.service,
                address.isIPv6 == announcement.isIPv6
            else { continue }
            servers[index].isWithdrawn = true
            if !schedule.isNew(servers[index].id) { removed.append(remove(at: index)) }
        }
        return removed
    }

    private mutating func remove(at index: Int) -> KnownServer {
        schedule.remove(servers[index].id)
        return servers.remove(at: index)
    }

    // MARK: Being tried

    /// Ends a try of a server that failed; see ``RetrySchedule``.
    mutating func failed(_ server: Int, at now: BootTime, lacksNetwork: Bool, jitter: Int64) {
        schedule.failed(server, at: now, lacksNetwork: lacksNetwork, jitter: jitter)
        if let index = servers.firstIndex(where: { $0.id == server }), servers[index].isWithdrawn {
            _ = remove(at: index)
        }
    }
}
