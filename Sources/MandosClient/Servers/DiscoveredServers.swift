import CAvahiCore
import MandosFormats
import POSIXKit

/// The servers that ``DiscoveryProcess`` tells us, within limits that it cannot exceed.
struct DiscoveredServers: ~Copyable {
    enum Event {
        case found(Discovery.Service, SocketAddress)
        /// The server is no longer announced.
        case removed(Announcement)
        /// The server is announced, but there are too many.
        case pushedOut(Announcement)
        /// Servers cannot be looked for.
        case failed(String)
    }

    /// How many messages are read at once, and the pause after that many, in milliseconds: more than a link has servers, and less
    /// than keeps us from our work.
    private static let messagesPerTurn = 64
    private static let pause: Int64 = 50
    /// How long a new process may take to find again the servers that the former one knew, in milliseconds: as long as
    /// ``Announcements`` takes to forget one.
    private static let graceTime: Int64 = 30_000

    private let socket: FileDescriptor
    private var announcements: Announcements
    private var nextTurn: BootTime
    private var forgettingDue: BootTime?

    /// `socket` is our end of a ``SocketPair``.
    init(_ socket: consuming FileDescriptor, at now: BootTime) throws(SystemError) {
        try socket.setNonBlocking()
        self.socket = consume socket
        announcements = Announcements(at: now)
        nextTurn = now
    }

    func register(in set: inout PollSet, at now: BootTime) {
        if now < nextTurn { set.limit(to: nextTurn) } else { set.add(socket.number) }
        set.limit(to: forgettingDue)
    }

    /// The events since the last call. `isOurs` tells whether servers are looked for on the interface with an index.
    mutating func takeEvents(isOurs: (UInt32) -> Bool, at now: BootTime) -> [Event] {
        var events: [Event] = []
        if let due = forgettingDue, due <= now {
            forgettingDue = nil
            events += announcements.forgetUnseen().map { .removed($0) }
        }
        guard now >= nextTurn else { return events }
        // One more byte than a message has, to notice a longer one.
        var message = [UInt8](repeating: 0, count: DiscoveryMessage.length + 1)
        for _ in 0..<Self.messagesPerTurn {
            switch try? socket.read(into: &message) {
            case .bytes(let count): receive(DiscoveryMessage(message[..<count]), isOurs, at: now, &events)
            case .notReady: return events
            // An empty message, or both the process and our parent are gone.
            case .end, nil: break
            }
        }
        nextTurn = now.after(milliseconds: Self.pause)
        return events
    }

    private mutating func receive(
        _ message: DiscoveryMessage?, _ isOurs: (UInt32) -> Bool, at now: BootTime, _ events: inout [Event]
    ) {
        switch message {
        case .began:
            announcements.startOver()
            forgettingDue = now.after(milliseconds: Self.graceTime)
        case .found(let service, let bytes, let port):
            guard isOurs(service.interface),
                let address = SocketAddress(bytes: bytes, port: port, interface: service.interface)
            else { return }
            let server = Announcement(service: service, isIPv6: address.isIPv6)
            if let loser = announcements.found(server) { events.append(.pushedOut(loser)) }
            events.append(.found(service, address))
            // The process may be a new one, which does not know that.
            if announcements.hasAnswered(service) { tell(service) }
        case .removed(let server): if announcements.withdrawn(server) { events.append(.removed(server)) }
        case .pushedOut(let server): if announcements.withdrawn(server) { events.append(.pushedOut(server)) }
        case .failed(let code): events.append(.failed(unsafe String(cString: avahi_strerror(code))))
        case .answered, nil: break
        }
    }

    /// A server has completed a handshake with us.
    mutating func hasAnswered(_ service: Discovery.Service) {
        announcements.answered(service)
        tell(service)
    }

    private func tell(_ service: Discovery.Service) {
        // If it is lost, the server has no advantage over others when there are too many.
        _ = try? socket.write(DiscoveryMessage.answered(service).bytes)
    }
}
