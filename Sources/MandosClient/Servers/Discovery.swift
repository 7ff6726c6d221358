import CAvahiCore
import CMandosSystem
import MandosFormats
import POSIXKit

/// Finds the Mandos servers on the links of this machine with multicast DNS.
///
/// Source: RFC 6762, RFC 6763; mandos(8), ANNOUNCEMENTS.
@safe final class Discovery {
    /// The announcement of a server on one link.
    struct Service: Equatable {
        let name: [UInt8]
        let interface: UInt32
    }

    struct Failure: Error {
        /// One of Avahi's.
        let code: Int32
    }

    /// Maximum number of entries in Avahi's cache for each interface; a service takes several.
    private static let maximumCacheEntries: UInt32 = 20_000
    private static let serviceType = "_mandos._tcp"
    /// How much processor time Avahi may use for what it has received, in seconds; then it is in an endless loop, and the signal
    /// SIGPROF ends this process.
    private static let timeLimit: UInt32 = 20

    private let poll: OpaquePointer
    private var avahi: OpaquePointer
    private let interfaces: [String]
    private var announcements = Announcements(at: .now())
    /// In the order of their IDs.
    private var resolvers: [ServiceResolver] = []
    /// ``resolvers`` may not fit ``announcements``.
    private var hasChanged = false
    private var messages: [DiscoveryMessage] = []
    private var failure: Failure?
    private var waiting = PollSet()

    /// Looks on `interfaces` only, which may appear later; on all if there are none.
    init(on interfaces: [String], isVerbose: Bool) throws(Failure) {
        guard let poll = unsafe avahi_simple_poll_new() else { throw Failure(code: Int32(AVAHI_ERR_NO_MEMORY)) }
        unsafe avahi_set_log_function(isVerbose ? Self.log : Self.noLog)
        do throws(Failure) {
            unsafe avahi = try Self.newAvahi(poll, interfaces)
        } catch {
            unsafe avahi_simple_poll_free(poll)
            throw error
        }
        unsafe self.poll = unsafe poll
        self.interfaces = interfaces
        unsafe avahi_simple_poll_set_func(poll, Self.wait, Unmanaged.passUnretained(self).toOpaque())
        try browse()
    }

    private static let noLog: AvahiLogFunction = { _, _ in }
    private static let log: AvahiLogFunction = { _, text in
        if let text = unsafe text { complain("mandos-client", "Avahi: " + (unsafe String(cString: text))) }
    }

    private static func newAvahi(_ poll: OpaquePointer, _ interfaces: [String]) throws(Failure) -> OpaquePointer {
        var configuration = unsafe AvahiServerConfig()
        unsafe avahi_server_config_init(&configuration)
        defer { unsafe avahi_server_config_free(&configuration) }
        // Nothing is announced. Without a name, Avahi would ask the system, which has none at this stage.
        unsafe configuration.host_name = avahi_strdup("mandos-client")
        unsafe configuration.allow_point_to_point = 1
        unsafe configuration.n_cache_entries_max = maximumCacheEntries
        unsafe configuration.publish_hinfo = 0
        unsafe configuration.publish_addresses = 0
        unsafe configuration.publish_workstation = 0
        unsafe configuration.publish_domain = 0
        for interface in interfaces {
            unsafe configuration.allow_interfaces = avahi_string_list_add(configuration.allow_interfaces, interface)
        }
        var code: Int32 = 0
        guard let avahi = unsafe avahi_server_new(avahi_simple_poll_get(poll), &configuration, nil, nil, &code) else {
            throw Failure(code: code)
        }
        return unsafe avahi
    }

    private func browse() throws(Failure) {
        let browser = unsafe avahi_s_service_browser_new(
            avahi, AvahiIfIndex(AVAHI_IF_UNSPEC), AvahiProtocol(AVAHI_PROTO_UNSPEC), Self.serviceType, nil,
            AvahiLookupFlags(rawValue: 0), Self.browsed, Unmanaged.passUnretained(self).toOpaque())
        guard unsafe browser != nil else { throw Failure(code: unsafe avahi_server_errno(avahi)) }
    }

    deinit {
        resolvers = []
        // Also frees the browser.
        unsafe avahi_server_free(avahi)
        unsafe avahi_simple_poll_free(poll)
    }

    /// Waits for what `set` waits for, or until there may be messages. Cannot go on after a failure.
    func wait(_ set: inout PollSet) throws(Failure) {
        set.limit(to: announcements.startOverDue)
        waiting = set
        let hasEnded = unsafe avahi_simple_poll_iterate(poll, -1) != 0
        set = waiting
        defer { cmandos_end_after_processor_time(0) }
        if hasEnded { throw Failure(code: Int32(AVAHI_ERR_DISCONNECTED)) }
        if let failure { throw failure }
        let now = BootTime.now()
        if let due = announcements.startOverDue, due <= now { try startOver(at: now) }
        if hasChanged { resolveAnnouncements() }
        takeAddresses()
    }

    /// Takes the messages since the last call.
    func takeMessages() -> [DiscoveryMessage] {
        defer { messages = [] }
        return messages
    }

    private static let wait: AvahiPollFunc = { entries, count, timeout, object in
        guard let object = unsafe object else { return 0 }
        let discovery = unsafe Unmanaged<Discovery>.fromOpaque(object).takeUnretainedValue()
        cmandos_end_after_processor_time(0)
        defer { cmandos_end_after_processor_time(timeLimit) }
        let ready = unsafe discovery.waiting.wait(with: entries, count: Int(count), milliseconds: timeout)
        // Avahi reads one packet of each socket at a time.
        if ready > 0 { discovery.announcements.receivedPacket() }
        return ready
    }

    // MARK: Callbacks
    // Avahi goes on with its objects after a callback returns: callbacks change values only, and free nothing.

    private static let browsed: AvahiSServiceBrowserCallback = {
        _, interface, family, event, name, _, domain, _, object in
        guard let object = unsafe object else { return }
        let discovery = unsafe Unmanaged<Discovery>.fromOpaque(object).takeUnretainedValue()
        if event == AVAHI_BROWSER_FAILURE {
            discovery.failure = Failure(code: unsafe avahi_server_errno(discovery.avahi))
        }
        // An announcement may name a service of another domain, which multicast DNS cannot resolve.
        guard let name = unsafe name, let domain = unsafe domain,
            unsafe String(cString: domain).utf8.elementsEqual("local".utf8)
        else { return }
        let announcement = unsafe Announcement(
            service: Service(name: bytes(of: name), interface: UInt32(clamping: interface)),
            isIPv6: family == AVAHI_PROTO_INET6)
        if event == AVAHI_BROWSER_NEW {
            discovery.announcements.announced(announcement)
        } else if event == AVAHI_BROWSER_REMOVE, discovery.announcements.withdrawn(announcement) {
            discovery.messages.append(.removed(announcement))
        }
        discovery.hasChanged = true
    }

    private static func bytes(of name: UnsafePointer<CChar>) -> [UInt8] {
        unsafe UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) }
    }

    // MARK: Outside of callbacks

    /// Resolves the announcements that are looked at, and no others.
    private func resolveAnnouncements() {
        hasChanged = false
        var old = resolvers[...]
        resolvers = []
        for entry in announcements.entries {
            old = old.drop { $0.id < entry.id }
            if let resolver = old.first, resolver.id == entry.id {
                resolvers.append(resolver)
            } else if entry.isSeen {
                resolvers.append(unsafe ServiceResolver(avahi, entry, type: Self.serviceType))
            }
        }
    }

    private func takeAddresses() {
        for index in resolvers.indices {
            let id = resolvers[index].id
            for (address, port) in unsafe resolvers[index].take(avahi) {
                messages.append(.found(resolvers[index].service, address: address, port: port))
                announcements.resolved(id)
                hasChanged = true
            }
            if resolvers[index].isFull { announcements.hasTooManyRecords() }
        }
    }

    /// Begins with an empty cache: a flood fills Avahi's, which then has no room for others, and announcements that were pushed
    /// out would not be reported again while they are in it.
    private func startOver(at now: BootTime) throws(Failure) {
        for gone in announcements.startOver(at: now) { messages.append(.removed(gone)) }
        let avahi = unsafe try Self.newAvahi(poll, interfaces)
        resolvers = []
        // Also frees the browser.
        unsafe avahi_server_free(self.avahi)
        unsafe self.avahi = unsafe avahi
        try browse()
    }
}
