import InitramfsKit

/// When which server is to be tried: each one again and again, `interval` apart, but never twice at the same time.
///
/// Source: mandos-client(8mandos) `--retry`.
struct RetrySchedule {
    private enum State {
        case waiting(until: Deadline)
        case trying(since: Deadline)
        case done
    }

    /// However short an interval is asked for, a server is not asked more often than this, in milliseconds.
    static let shortestInterval: Int64 = 100

    private let interval: Int64?
    private var servers: [State] = []

    /// `interval` is in milliseconds; nil means that each server is tried once.
    init(interval: Int64?) { self.interval = interval.map { max($0, Self.shortestInterval) } }

    /// A server has become known: it is due at once.
    ///
    /// - Returns: its index.
    mutating func add(at now: Deadline) -> Int {
        servers.append(.waiting(until: now))
        return servers.count - 1
    }

    /// The servers to try now; from now on they count as being tried.
    mutating func begin(at now: Deadline) -> [Int] {
        var due: [Int] = []
        for index in servers.indices {
            if case .waiting(let until) = servers[index], until <= now {
                servers[index] = .trying(since: now)
                due.append(index)
            }
        }
        return due
    }

    /// Trying `server` has come to nothing.
    mutating func failed(_ server: Int, at now: Deadline) {
        guard case .trying(let since) = servers[server] else { return }
        guard let interval else {
            servers[server] = .done
            return
        }
        servers[server] = .waiting(until: max(since.after(milliseconds: interval), now))
    }

    /// When the next server is due.
    var nextDue: Deadline? {
        var earliest: Deadline?
        for case .waiting(let until) in servers { earliest = min(earliest ?? until, until) }
        return earliest
    }

    /// Whether nothing more will happen.
    var isExhausted: Bool {
        servers.allSatisfy { state in
            switch state {
            case .done: true
            case .waiting, .trying: false
            }
        }
    }
}
