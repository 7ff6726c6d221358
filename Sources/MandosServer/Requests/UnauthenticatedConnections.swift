import DequeModule

/// The connections that have not completed the handshake, oldest first, within limits.
///
/// At a limit the oldest is closed: a flood never locks out a real client, which needs only a moment.
struct UnauthenticatedConnections<Payload> {
    struct Limits {
        var total: Int
        /// Lower than the total, so that one address alone never reaches that.
        var perSource: Int
    }

    typealias ID = UInt64

    private struct Entry {
        let source: String
        let payload: Payload
    }

    private let limits: Limits
    private var entries: [ID: Entry] = [:]
    private var arrivals = Arrivals()
    private var arrivalsFrom: [String: Arrivals] = [:]
    private var nextID: ID = 0

    init(limits: Limits) { self.limits = limits }

    var count: Int { entries.count }

    /// Adds a connection from `source`; if that is too many, the caller closes `evicted`.
    mutating func admit(_ payload: Payload, from source: String) -> (id: ID, evicted: Payload?) {
        let id = nextID
        nextID += 1
        let victim: ID? =
            if let own = arrivalsFrom[source], own.count >= limits.perSource {
                oldest(of: own)
            } else if entries.count >= limits.total {
                oldest(of: arrivals)
            } else {
                nil
            }
        let evicted = victim.flatMap { remove($0) }
        entries[id] = Entry(source: source, payload: payload)
        arrivals.append(id)
        arrivalsFrom[source, default: Arrivals()].append(id)
        return (id, evicted)
    }

    /// Forgets a connection that is authenticated or closed; does nothing if it is already forgotten.
    @discardableResult
    mutating func remove(_ id: ID) -> Payload? {
        guard let entry = entries.removeValue(forKey: id) else { return nil }
        arrivals.remove { entries[$0] == nil }
        arrivalsFrom[entry.source]?.remove { entries[$0] == nil }
        if arrivalsFrom[entry.source]?.count == 0 { arrivalsFrom[entry.source] = nil }
        return entry.payload
    }

    private func oldest(of arrivals: Arrivals) -> ID? { arrivals.ids.first { entries[$0] != nil } }

    /// IDs in order of arrival. Removed IDs stay until they are at the front or the majority, so that removal takes
    /// constant time on average.
    private struct Arrivals {
        private(set) var ids: Deque<ID> = []
        private(set) var count = 0

        mutating func append(_ id: ID) {
            ids.append(id)
            count += 1
        }

        /// Removes one ID; `hasLeft` tells which IDs are removed.
        mutating func remove(where hasLeft: (ID) -> Bool) {
            count -= 1
            while let first = ids.first, hasLeft(first) { ids.removeFirst() }
            if ids.count > 2 * count { ids.removeAll(where: hasLeft) }
        }
    }
}

extension UnauthenticatedConnections.Limits {
    /// An idle connection takes about 17 kB, so this is about 140 MB.
    private static var maximum: Int { 8192 }

    /// Leaves a quarter of the descriptors for everything else.
    init(spareDescriptors: Int) {
        let total = max(1, min(Self.maximum, spareDescriptors / 4 * 3))
        self.init(total: total, perSource: max(1, total / 2))
    }
}
