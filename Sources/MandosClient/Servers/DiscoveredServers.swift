import CAvahiCore
import MandosFormats
import POSIXKit

/// The servers that ``DiscoveryProcess`` tells us, at a limited rate.
struct DiscoveredServers: ~Copyable {
    enum Event {
        case found(Discovery.Service, SocketAddress)
        /// The server is no longer announced.
        case removed(Announcement)
        /// Servers cannot be looked for.
        case failed(String)
    }

    /// How many messages are read at once, and the pause after that many, in milliseconds: more than a link has servers, and less
    /// than keeps us from our work.
    private static let messagesPerTurn = 64
    private static let pause: Int64 = 50

    private let socket: FileDescriptor
    private var nextTurn: BootTime

    /// `socket` is our end of a ``SocketPair``.
    init(_ socket: consuming FileDescriptor, at now: BootTime) throws(SystemError) {
        try socket.setNonBlocking()
        self.socket = consume socket
        nextTurn = now
    }

    func register(in set: inout PollSet, at now: BootTime) {
        if now < nextTurn { set.limit(to: nextTurn) } else { set.add(socket.number) }
    }

    /// The events since the last call. `isOurs` tells whether servers are looked for on the interface with an index.
    mutating func takeEvents(isOurs: (UInt32) -> Bool, at now: BootTime) -> [Event] {
        guard now >= nextTurn else { return [] }
        var events: [Event] = []
        // One more byte than a message has, to notice a longer one.
        var message = [UInt8](repeating: 0, count: DiscoveryMessage.length + 1)
        for _ in 0..<Self.messagesPerTurn {
            switch try? socket.read(into: &message) {
            case .bytes(let count):
                if let event = Self.event(DiscoveryMessage(message[..<count]), isOurs) { events.append(event) }
            case .notReady: return events
            // An empty message, or both the process and our parent are gone.
            case .end, nil: break
            }
        }
        nextTurn = now.after(milliseconds: Self.pause)
        return events
    }

    private static func event(_ message: DiscoveryMessage?, _ isOurs: (UInt32) -> Bool) -> Event? {
        switch message {
        case .found(let service, let bytes, let port):
            guard isOurs(service.interface) else { return nil }
            return SocketAddress(bytes: bytes, port: port, interface: service.interface).map { .found(service, $0) }
        case .removed(let server): return .removed(server)
        case .failed(let code): return .failed(unsafe String(cString: avahi_strerror(code)))
        case nil: return nil
        }
    }
}
