import CAvahiCore
import CMandosSystem

/// Looks for all records of one name and type on one link, until it is freed. Source: RFC 6762.
///
/// Avahi's own resolver takes the first record that it sees, and no other one as long as anybody repeats that: a neighbour who
/// sends a wrong one every second would hide the right one.
@safe final class RecordBrowser {
    enum Record {
        /// Source: RFC 2782, SRV. The name of the host ends with a zero byte.
        case server(host: [CChar], port: UInt16)
        case address([UInt8])
    }

    enum Kind {
        case server
        case address(isIPv6: Bool)

        fileprivate var type: UInt16 {
            switch self {
            case .server: UInt16(AVAHI_DNS_TYPE_SRV)
            case .address(let isIPv6): UInt16(isIPv6 ? AVAHI_DNS_TYPE_AAAA : AVAHI_DNS_TYPE_A)
            }
        }

        /// More than any host has, or any service has in the time until browsing starts over.
        fileprivate var maximum: Int {
            switch self {
            case .server: 64
            case .address: 16
            }
        }
    }

    private let maximum: Int
    private var handle: OpaquePointer?
    private var count = 0
    private var records: [Record] = []
    /// There are more records than it takes.
    private(set) var isFull = false

    /// Nil if Avahi refuses the name. The browser must be freed before `avahi` is, and not by a callback of Avahi's.
    init?(_ avahi: OpaquePointer, _ kind: Kind, of name: [CChar], _ announcement: Announcement) {
        maximum = kind.maximum
        let family = AvahiProtocol(announcement.isIPv6 ? AVAHI_PROTO_INET6 : AVAHI_PROTO_INET)
        guard let key = unsafe avahi_key_new(name, UInt16(AVAHI_DNS_CLASS_IN), kind.type) else { return nil }
        defer { unsafe avahi_key_unref(key) }
        unsafe handle = avahi_s_record_browser_new(
            avahi, AvahiIfIndex(announcement.service.interface), family, key, AvahiLookupFlags(rawValue: 0),
            Self.callback, Unmanaged.passUnretained(self).toOpaque())
        if unsafe handle == nil { return nil }
    }

    deinit {
        if let handle = unsafe handle { unsafe avahi_s_record_browser_free(handle) }
    }

    /// Takes the records that have come since the last call.
    func take() -> [Record] {
        if records.isEmpty { return [] }
        defer { records = [] }
        return records
    }

    private static let callback: AvahiSRecordBrowserCallback = { _, _, _, event, record, _, object in
        guard event == AVAHI_BROWSER_NEW, let record = unsafe record, let object = unsafe object,
            let found = unsafe RecordBrowser.read(record)
        else { return }
        let browser = unsafe Unmanaged<RecordBrowser>.fromOpaque(object).takeUnretainedValue()
        browser.isFull = browser.count >= browser.maximum
        guard !browser.isFull else { return }
        browser.count += 1
        browser.records.append(found)
    }

    /// Nil if the record is of no use. A port of 0 can be nobody's.
    private static func read(_ record: UnsafeMutablePointer<AvahiRecord>) -> Record? {
        let data = unsafe record.pointee.data
        switch unsafe Int(record.pointee.key.pointee.type) {
        case Int(AVAHI_DNS_TYPE_SRV):
            guard let name = unsafe data.srv.name, unsafe data.srv.port != 0 else { return nil }
            let host = unsafe Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1))
            return .server(host: host, port: unsafe data.srv.port)
        case Int(AVAHI_DNS_TYPE_A): return .address(unsafe bytes(of: data.a.address))
        case Int(AVAHI_DNS_TYPE_AAAA): return .address(unsafe bytes(of: data.aaaa.address))
        default: return nil
        }
    }

    private static func bytes<Address>(of address: Address) -> [UInt8] {
        unsafe withUnsafeBytes(of: address) { unsafe Array($0) }
    }
}

/// Finds the addresses and ports of one announced service: those of every host that a record names, since only one may be right.
struct ServiceResolver {
    /// The ID of the entry of ``Announcements``.
    let id: Int
    private let announcement: Announcement
    private let servers: RecordBrowser?
    private var hosts: [(port: UInt16, addresses: RecordBrowser)] = []

    init(_ avahi: OpaquePointer, _ entry: Announcements.Entry, type: String) {
        id = entry.id
        announcement = entry.announcement
        var name = [CChar](repeating: 0, count: Int(AVAHI_DOMAIN_NAME_MAX))
        let instance = String(decoding: entry.announcement.service.name, as: UTF8.self)
        let code = unsafe avahi_service_name_join(&name, name.count, instance, type, "local")
        servers = code == 0 ? unsafe RecordBrowser(avahi, .server, of: name, entry.announcement) : nil
    }

    var service: Discovery.Service { announcement.service }

    /// More is announced of it than it looks at.
    var isFull: Bool { servers?.isFull ?? false || hosts.contains { $0.addresses.isFull } }

    /// The addresses and ports that have become known since the last call.
    mutating func take(_ avahi: OpaquePointer) -> [(address: [UInt8], port: UInt16)] {
        for case .server(let host, let port) in servers?.take() ?? [] {
            let kind = RecordBrowser.Kind.address(isIPv6: announcement.isIPv6)
            if let browser = unsafe RecordBrowser(avahi, kind, of: host, announcement) { hosts.append((port, browser)) }
        }
        var found: [(address: [UInt8], port: UInt16)] = []
        for (port, addresses) in hosts {
            for case .address(let bytes) in addresses.take() { found.append((bytes, port)) }
        }
        return found
    }
}
