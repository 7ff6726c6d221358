import MandosFormats
import POSIXKit

/// The announcements that are looked at, within limits that no announcer can turn against another one. Pure: does no input or
/// output.
///
/// Anybody on a link can announce any number of services. Therefore services whose address is not known yet and servers have
/// a limit each: names that do not resolve push out only each other. At a limit, the interface with most entries loses a random
/// one. Whatever was pushed out and is still announced is found again when browsing starts over.
struct Announcements {
    struct Entry {
        /// Never used again for another entry.
        let id: Int
        let announcement: Announcement
        /// An address of it is known.
        fileprivate(set) var isServer = false
        /// Since when browsing has started over without an announcement of it.
        fileprivate var unseenSince: BootTime?

        /// It was announced since browsing last started over.
        var isSeen: Bool { unseenSince == nil }
    }

    struct Limits {
        var unresolved = 256
        var servers = 768
        /// The shortest time from one start of browsing to the next, in milliseconds.
        var period: Int64 = 10_000
        /// The same in a flood of more than so many packets: Avahi's cache is full soon, and takes nothing more.
        var periodInFlood: Int64 = 2000
        var packets = 200
        /// How long a server may not be announced before it is gone, in milliseconds: its packets may have been lost in a flood.
        var patience: Int64 = 30_000
    }

    /// In the order of their IDs.
    private(set) var entries: [Entry] = []
    private let limits: Limits
    private let random: (_ below: Int) -> Int
    private var nextID = 0
    private var periodBegin: BootTime
    private var mayMissSome = false
    // Since browsing last started over.
    private var packets = 0
    private var addresses = 0

    init(
        limits: Limits = Limits(), at now: BootTime,
        random: @escaping (_ below: Int) -> Int = { Int(randomNumber(below: UInt32($0))) }
    ) {
        self.limits = limits
        self.random = random
        periodBegin = now
    }

    // MARK: What the network says

    /// Something has come from the network.
    mutating func receivedPacket() { packets += 1 }

    /// Something is announced; it is to be resolved from now on.
    mutating func announced(_ announcement: Announcement) {
        if let index = entries.firstIndex(where: { $0.announcement == announcement }) {
            entries[index].unseenSince = nil
            return
        }
        let entry = Entry(id: nextID, announcement: announcement)
        nextID += 1
        entries.append(entry)
        bound(limits.unresolved, sparing: entry) { !$0.isServer }
    }

    /// Something is not announced any more.
    ///
    /// - Returns: whether it was a server.
    mutating func withdrawn(_ announcement: Announcement) -> Bool {
        guard let index = entries.firstIndex(where: { $0.announcement == announcement }) else { return false }
        return entries.remove(at: index).isServer
    }

    /// An address of an announced server has become known.
    mutating func resolved(_ id: Int) {
        addresses += 1
        // Whoever is told of them may have to forget some.
        if addresses > limits.servers { mayMissSome = true }
        guard let index = entries.firstIndex(where: { $0.id == id }), !entries[index].isServer else { return }
        entries[index].isServer = true
        bound(limits.servers, sparing: entries[index]) { $0.isServer }
    }

    /// A service has more records than are looked at.
    mutating func hasTooManyRecords() { mayMissSome = true }

    // MARK: Limits

    /// Pushes an entry out of a group, other than `newest`, if it has more than `maximum`.
    private mutating func bound(_ maximum: Int, sparing newest: Entry, _ isInGroup: (Entry) -> Bool) {
        let group = entries.indices.filter { entries[$0].id != newest.id && isInGroup(entries[$0]) }
        guard group.count >= maximum else { return }
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
        let victims = group.filter { entries[$0].announcement.service.interface == crowded }
        mayMissSome = true
        // A random one, so that no announcer can choose whose it is.
        entries.remove(at: victims[random(victims.count)])
    }

    // MARK: Starting over

    /// When to start browsing over: some may be announced that are not known, or not be announced any more; nil if neither.
    var startOverDue: BootTime? {
        if packets > limits.packets { return periodBegin.after(milliseconds: limits.periodInFlood) }
        return mayMissSome || entries.contains { !$0.isSeen } ? periodBegin.after(milliseconds: limits.period) : nil
    }

    /// A period has ended, and browsing starts over: everything that is announced will be seen again. Servers stay known.
    ///
    /// - Returns: the servers that have not been announced for too long.
    mutating func startOver(at now: BootTime) -> [Announcement] {
        periodBegin = now
        mayMissSome = false
        packets = 0
        addresses = 0
        entries.removeAll { !$0.isServer }
        for index in entries.indices { entries[index].unseenSince = entries[index].unseenSince ?? now }
        let patience = limits.patience
        let isGone: (Entry) -> Bool = { entry in
            entry.unseenSince.map { $0.after(milliseconds: patience) <= now } ?? false
        }
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
