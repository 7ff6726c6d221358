import CAvahiCore
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

    enum Event {
        case found(Service, SocketAddress)
        /// The server is no longer announced with addresses of this kind.
        case removed(Service, isIPv6: Bool)
        /// There will be no more events.
        case failed(String)
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Maximum number of announcements that are remembered.
    private static let maximumServices = 1024
    /// Maximum number of entries in Avahi's cache for each interface; a service takes several.
    private static let maximumCacheEntries: UInt32 = 20_000
    private static let serviceType = "_mandos._tcp"

    @safe private struct Resolution {
        let service: Service
        let isIPv6: Bool
        let resolver: OpaquePointer
    }

    private let poll: OpaquePointer
    private let avahi: OpaquePointer
    private var resolutions: [Resolution] = []
    private var events: [Event] = []
    private var waiting = PollSet()

    init() throws(Failure) {
        guard let poll = unsafe avahi_simple_poll_new() else { throw Failure(description: "out of memory") }
        unsafe avahi_set_log_function { _, _ in }
        var configuration = unsafe AvahiServerConfig()
        unsafe avahi_server_config_init(&configuration)
        defer { unsafe avahi_server_config_free(&configuration) }
        // Nothing is announced. Without a name, Avahi would ask the system, which has none at this stage.
        unsafe configuration.host_name = avahi_strdup("mandos-client")
        unsafe configuration.allow_point_to_point = 1
        unsafe configuration.n_cache_entries_max = Self.maximumCacheEntries
        unsafe configuration.publish_hinfo = 0
        unsafe configuration.publish_addresses = 0
        unsafe configuration.publish_workstation = 0
        unsafe configuration.publish_domain = 0
        var code: Int32 = 0
        guard let avahi = unsafe avahi_server_new(avahi_simple_poll_get(poll), &configuration, nil, nil, &code) else {
            unsafe avahi_simple_poll_free(poll)
            throw Failure(description: unsafe String(cString: avahi_strerror(code)))
        }
        unsafe self.poll = unsafe poll
        unsafe self.avahi = unsafe avahi
        let reference = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe avahi_simple_poll_set_func(poll, Self.wait, reference)
        let browser = unsafe avahi_s_service_browser_new(
            avahi, AvahiIfIndex(AVAHI_IF_UNSPEC), AvahiProtocol(AVAHI_PROTO_UNSPEC), Self.serviceType, nil,
            AvahiLookupFlags(rawValue: 0), Self.browsed, reference)
        guard unsafe browser != nil else {
            throw Failure(description: unsafe String(cString: avahi_strerror(avahi_server_errno(avahi))))
        }
    }

    deinit {
        // Also frees the browser and the resolvers.
        unsafe avahi_server_free(avahi)
        unsafe avahi_simple_poll_free(poll)
    }

    /// Waits for what `set` waits for, or until there may be events.
    func wait(_ set: inout PollSet) {
        waiting = set
        let hasEnded = unsafe avahi_simple_poll_iterate(poll, -1) != 0
        set = waiting
        if hasEnded { events.append(.failed("Avahi has ended")) }
    }

    /// Takes the events since the last call.
    func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }

    private static let wait: AvahiPollFunc = { entries, count, timeout, object in
        guard let object = unsafe object else { return 0 }
        let discovery = unsafe Unmanaged<Discovery>.fromOpaque(object).takeUnretainedValue()
        return unsafe discovery.waiting.wait(with: entries, count: Int(count), milliseconds: timeout)
    }

    private static let browsed: AvahiSServiceBrowserCallback = {
        _, interface, family, event, name, _, domain, _, object in
        guard let object = unsafe object else { return }
        let discovery = unsafe Unmanaged<Discovery>.fromOpaque(object).takeUnretainedValue()
        if event == AVAHI_BROWSER_FAILURE {
            discovery.events.append(
                .failed(unsafe String(cString: avahi_strerror(avahi_server_errno(discovery.avahi)))))
        }
        guard let name = unsafe name, let domain = unsafe domain else { return }
        let service = unsafe Service(name: Array(String(cString: name).utf8), interface: UInt32(clamping: interface))
        let isIPv6 = family == AVAHI_PROTO_INET6
        if event == AVAHI_BROWSER_NEW {
            unsafe discovery.resolve(service, isIPv6, name, domain)
        } else if event == AVAHI_BROWSER_REMOVE {
            discovery.forget { $0.service == service && $0.isIPv6 == isIPv6 }
        }
    }

    private func resolve(
        _ service: Service, _ isIPv6: Bool, _ name: UnsafePointer<CChar>, _ domain: UnsafePointer<CChar>
    ) {
        if resolutions.count >= Self.maximumServices {
            // A random one, so that no announcer can choose which server is pushed out.
            let victim = unsafe resolutions[Int(randomNumber(below: UInt32(resolutions.count)))].resolver
            forget { unsafe $0.resolver == victim }
        }
        let family = AvahiProtocol(isIPv6 ? AVAHI_PROTO_INET6 : AVAHI_PROTO_INET)
        let resolver = unsafe avahi_s_service_resolver_new(
            avahi, AvahiIfIndex(service.interface), family, name, Self.serviceType, domain, family,
            AVAHI_LOOKUP_NO_TXT, Self.resolved, Unmanaged.passUnretained(self).toOpaque())
        guard let resolver = unsafe resolver else { return }
        unsafe resolutions.append(Resolution(service: service, isIPv6: isIPv6, resolver: resolver))
    }

    private func forget(_ which: (Resolution) -> Bool) {
        for resolution in resolutions.filter(which) {
            unsafe avahi_s_service_resolver_free(resolution.resolver)
            events.append(.removed(resolution.service, isIPv6: resolution.isIPv6))
        }
        resolutions.removeAll(where: which)
    }

    private static let resolved: AvahiSServiceResolverCallback = {
        resolver, _, _, event, name, _, domain, _, address, port, _, _, object in
        guard let object = unsafe object, let resolver = unsafe resolver else { return }
        let discovery = unsafe Unmanaged<Discovery>.fromOpaque(object).takeUnretainedValue()
        guard let index = discovery.resolutions.firstIndex(where: { unsafe $0.resolver == resolver }) else {
            return
        }
        let resolution = discovery.resolutions[index]
        if event == AVAHI_RESOLVER_FOUND {
            guard let bytes = unsafe address.map({ unsafe Discovery.bytes(of: $0) }), port != 0,
                let address = SocketAddress(bytes: bytes, port: port, interface: resolution.service.interface)
            else { return }
            discovery.events.append(.found(resolution.service, address))
        } else if let name = unsafe name, let domain = unsafe domain {
            // Tried again: the server is announced, so a packet was lost.
            // The old resolver owns the names, so the new one is made first.
            unsafe discovery.resolve(resolution.service, resolution.isIPv6, name, domain)
            discovery.resolutions.removeAll { unsafe $0.resolver == resolver }
            unsafe avahi_s_service_resolver_free(resolver)
        }
    }

    private static func bytes(of address: UnsafePointer<AvahiAddress>) -> [UInt8] {
        let count = unsafe address.pointee.proto == AVAHI_PROTO_INET6 ? 16 : 4
        return unsafe withUnsafeBytes(of: address.pointee.data) { unsafe Array($0.prefix(count)) }
    }
}
