import MandosFormats
import POSIXKit

/// The announcements that are looked at, within limits that no announcer can turn against another one. Pure: does no input or
/// output.
///
/// Anybody on a link can announce any number of services. Therefore services whose address is not known yet and servers have
/// a limit each: names that do not resolve push out only each other. At a limit, the interface with most entries loses one of
/// those with the lowest standing. Whatever was pushed out and is still announced is found again when browsing starts over.
struct Announcements {
    enum Standing: Comparable {
        case unresolved
        /// A server: its address is known.
        case resolved
        /// A server that has completed a handshake with us, which is more work than to announce it.
        case answered
    }

    struct Entry {
        /// Never used again for another entry.
        let id: Int
        let announcement: Announcement
        fileprivate(set) var standing = Standing.unresolved
        /// It was announced since browsing last started over.
        fileprivate(set) var isSeen = true
        fileprivate var missedPeriods = 0

        fileprivate var isServer: Bool { standing > .unresolved }
    }

    struct Limits {
        var unresolved = 256
        /// Number of servers, and of those that are remembered for nothing but their address.
        var servers = 768
        /// The shortest time from one start of browsing to the next, in milliseconds.
        var period: Int64 = 10_000
        /// Number of periods without an announcement after which a server is gone: its packets may have been lost in a flood.
        var missedPeriods = 3
    }

    /// In the order of their IDs.
    private(set) var entries: [Entry] = []
    private let limits: Limits
    private let random: (_ below: Int) -> Int
    private var nextID = 0
    private var periodBegin: BootTime
    private var hasPushedOut = false

    init(
        limits: Limits = Limits(), at now: BootTime,
        random: @escaping (_ below: Int) -> Int = { Int(randomNumber(below: UInt32($0))) }
    ) {
        self.limits = limits
        self.random = random
        periodBegin = now
    }

    subscript(id: Int) -> Announcement? { entries.first { $0.id == id }?.announcement }

    // MARK: What the network says

    /// Something is announced; it is to be resolved from now on.
    mutating func announced(_ announcement: Announcement) {
        if let index = entries.firstIndex(where: { $0.announcement == announcement }) {
            entries[index].isSeen = true
            entries[index].missedPeriods = 0
            return
        }
        let entry = Entry(id: nextID, announcement: announcement)
        nextID += 1
        entries.append(entry)
        _ = bound(limits.unresolved, sparing: entry) { !$0.isServer }
    }

    /// Something is not announced any more.
    ///
    /// - Returns: whether it was a server.
    mutating func withdrawn(_ announcement: Announcement) -> Bool {
        guard let index = entries.firstIndex(where: { $0.announcement == announcement }) else { return false }
        return entries.remove(at: index).isServer
    }

    /// The address of an announced server has become known.
    ///
    /// - Returns: the server that was pushed out.
    mutating func resolved(_ id: Int) -> Announcement? {
        guard let index = entries.firstIndex(where: { $0.id == id }), !entries[index].isServer else { return nil }
        entries[index].standing = .resolved
        return bound(limits.servers, sparing: entries[index]) { $0.isServer }
    }

    /// Resolving has failed. It is tried again, unless others wait for the place.
    mutating func notResolved(_ id: Int) {
        if hasPushedOut { entries.removeAll { $0.id == id && !$0.isServer } }
    }

    /// A server is announced whose address is known.
    ///
    /// - Returns: the server that was pushed out.
    mutating func found(_ announcement: Announcement) -> Announcement? {
        announced(announcement)
        return entries.last { $0.announcement == announcement }.flatMap { resolved($0.id) }
    }

    /// A server has completed a handshake.
    mutating func answered(_ service: Discovery.Service) {
        for index in entries.indices where entries[index].isServer && entries[index].announcement.service == service {
            entries[index].standing = .answered
        }
    }

    /// Whether a server has completed a handshake.
    func hasAnswered(_ service: Discovery.Service) -> Bool {
        entries.contains { $0.standing == .answered && $0.announcement.service == service }
    }

    // MARK: Limits

    /// Pushes an entry out of a group, other than `newest`, if it has more than `maximum`.
    private mutating func bound(_ maximum: Int, sparing newest: Entry, _ isInGroup: (Entry) -> Bool) -> Announcement? {
        let group = entries.indices.filter { entries[$0].id != newest.id && isInGroup(entries[$0]) }
        guard group.count >= maximum else { return nil }
        var interfaces: [(index: UInt32, count: Int)] = []
        for index in group {
            let interface = entries[index].announcement.service.interface
            if let known = interfaces.firstIndex(where: { $0.index == interface }) {
                interfaces[known].count += 1
            } else {
                interfaces.append((interface, interface == newest.announcement.service.interface ? 2 : 1))
            }
        }
        let crowded = interfaces.max { $0.count < $1.count }?.index
        let candidates = group.filter { entries[$0].announcement.service.interface == crowded }
        let lowest = candidates.map { entries[$0].standing }.min()
        let victims = candidates.filter { entries[$0].standing == lowest }
        hasPushedOut = true
        // A random one, so that no announcer can choose whose it is.
        return entries.remove(at: victims[random(victims.count)]).announcement
    }

    // MARK: Starting over

    /// When to start browsing over: some may be announced that are not known, or not be announced any more; nil if neither.
    var startOverDue: BootTime? {
        hasPushedOut || entries.contains { !$0.isSeen } ? periodBegin.after(milliseconds: limits.period) : nil
    }

    /// A period has ended, and browsing starts over: everything that is announced will be seen again. Servers stay known.
    ///
    /// - Returns: the servers that have not been announced for too long.
    mutating func startOver(at now: BootTime) -> [Announcement] {
        periodBegin = now
        hasPushedOut = false
        for index in entries.indices where !entries[index].isSeen { entries[index].missedPeriods += 1 }
        startOver()
        let maximum = limits.missedPeriods
        return forget { $0.missedPeriods >= maximum }
    }

    /// Browsing has started over: everything that is announced will be seen again. Servers stay known.
    mutating func startOver() {
        entries.removeAll { !$0.isServer }
        for index in entries.indices { entries[index].isSeen = false }
    }

    /// Forgets the servers that have not been announced since browsing last started over, and returns them.
    mutating func forgetUnseen() -> [Announcement] { forget { !$0.isSeen } }

    private mutating func forget(_ isGone: (Entry) -> Bool) -> [Announcement] {
        let gone = entries.filter(isGone).map { $0.announcement }
        entries.removeAll(where: isGone)
        return gone
    }
}

/// The announcement of a server on one link, with addresses of one kind.
struct Announcement: Equatable {
    let service: Discovery.Service
    let isIPv6: Bool
}
