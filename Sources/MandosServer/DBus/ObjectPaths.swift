import MandosCore

/// The D-Bus object paths of the clients, each of them unique.
///
/// A character that D-Bus does not allow in a path becomes `_`, as in the reference; if two names give the same path, the later
/// one gets a number.
public struct ObjectPaths: Sendable {
    private static let prefix = "/clients/"

    private var pathOfName: [String: String] = [:]
    private var nameOfPath: [String: String] = [:]
    /// The paths of clients that are gone: an operator who has just looked one up must not hit another client.
    private var formerName: [String: String] = [:]
    /// Beyond this limit they are forgotten.
    private static let maximumFormer = 100_000

    public init() {}

    /// Clients keep the paths that were saved. Of the others, the older has the plainer path.
    init(_ entries: some Sequence<Roster.Entry>) {
        var others: [Roster.Entry] = []
        for entry in entries {
            guard let path = entry.objectPath, nameOfPath[path] == nil else {
                others.append(entry)
                continue
            }
            pathOfName[entry.name] = path
            nameOfPath[path] = entry.name
        }
        for entry in others.sorted(by: { ($0.client.created, $0.name) < ($1.client.created, $1.name) }) {
            add(entry.name)
        }
    }

    public subscript(name: String) -> String? { pathOfName[name] }

    public func name(at path: String) -> String? { nameOfPath[path] }

    @discardableResult
    public mutating func add(_ name: String) -> String {
        if let path = pathOfName[name] { return path }
        let plain = Self.plain(name)
        var path = plain
        var number = 2
        while nameOfPath[path] != nil || formerName[path].map({ $0 != name }) ?? false {
            path = "\(plain)_\(number)"
            number += 1
        }
        pathOfName[name] = path
        nameOfPath[path] = name
        return path
    }

    /// Whether the path follows from the name alone.
    func isPlain(_ path: String, for name: String) -> Bool { path == Self.plain(name) }

    private static func plain(_ name: String) -> String { prefix + element(name) }

    public mutating func remove(_ name: String) {
        guard let path = pathOfName.removeValue(forKey: name) else { return }
        nameOfPath[path] = nil
        if formerName.count == Self.maximumFormer { formerName = [:] }
        formerName[path] = name
    }

    /// Source: D-Bus specification, "Valid Object Paths".
    private static func element(_ name: String) -> String {
        let bytes = name.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                byte
            default: UInt8(ascii: "_")
            }
        }
        return bytes.isEmpty ? "_" : String(decoding: bytes, as: UTF8.self)
    }
}
