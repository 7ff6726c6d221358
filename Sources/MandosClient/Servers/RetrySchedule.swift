import MandosFormats
import POSIXKit

/// When to try each server: again and again, `interval` apart, but never twice at the same time.
///
/// Source: mandos-client(8mandos) `--retry`.
struct RetrySchedule {
    private enum State {
        case waiting(until: BootTime)
        /// The last try failed for lack of a network; a change of the network ends the wait.
        case waitingForNetwork(until: BootTime)
        case trying(since: BootTime)
        case done

        var due: BootTime? {
            switch self {
            case .waiting(let until), .waitingForNetwork(let until): until
            case .trying, .done: nil
            }
        }
    }

    /// The shortest interval between two tries of one server, in milliseconds, whatever is asked for.
    static let shortestInterval: Int64 = 100

    private let interval: Int64?
    private var servers: [(id: Int, state: State)] = []
    private var nextID = 0

    /// `interval` is in milliseconds; nil means that each server is tried once.
    init(interval: Int64?) { self.interval = interval.map { max($0, Self.shortestInterval) } }

    /// Adds a server, which is due at once.
    ///
    /// - Returns: its ID, which is never used again for another server.
    mutating func add(at now: BootTime) -> Int {
        defer { nextID += 1 }
        servers.append((nextID, .waiting(until: now)))
        return nextID
    }

    /// Removes a server: it is not tried again.
    mutating func remove(_ server: Int) { servers.removeAll { $0.id == server } }

    /// Selects the servers to try now, at most `maximum`, those first that have been due longest. They count as being tried
    /// from now on.
    mutating func begin(at now: BootTime, atMost maximum: Int = .max) -> [Int] {
        var due: [(index: Int, since: BootTime)] = []
        for (index, server) in servers.enumerated() {
            if let since = server.state.due, since <= now { due.append((index, since)) }
        }
        if due.count > maximum { due = Array(due.sorted { $0.since < $1.since }.prefix(maximum)) }
        for (index, _) in due { servers[index].state = .trying(since: now) }
        return due.map { servers[$0.index].id }
    }

    /// Ends a try of `server` that failed; with `lacksNetwork`, a change of the network makes the server due again.
    ///
    /// `jitter`, in milliseconds, is added to the interval, so that machines that started together do not ask together for
    /// ever.
    mutating func failed(_ server: Int, at now: BootTime, lacksNetwork: Bool = false, jitter: Int64 = 0) {
        guard let index = servers.firstIndex(where: { $0.id == server }),
            case .trying(let since) = servers[index].state
        else { return }
        guard let interval else {
            servers[index].state = .done
            return
        }
        let until = max(since.after(milliseconds: interval + jitter), now)
        servers[index].state = lacksNetwork ? .waitingForNetwork(until: until) : .waiting(until: until)
    }

    /// Makes a server due now, unless it is being tried.
    mutating func renew(_ server: Int, at now: BootTime) {
        guard let index = servers.firstIndex(where: { $0.id == server }), servers[index].state.due != nil else {
            return
        }
        servers[index].state = .waiting(until: now)
    }

    /// Makes the servers due now whose last try failed for lack of a network.
    mutating func networkHasChanged(at now: BootTime) {
        for index in servers.indices {
            if case .waitingForNetwork = servers[index].state { servers[index].state = .waiting(until: now) }
        }
    }

    /// When the next server is due.
    var nextDue: BootTime? {
        var earliest: BootTime?
        for server in servers {
            if let due = server.state.due { earliest = min(earliest ?? due, due) }
        }
        return earliest
    }

    /// Whether every server has been tried as often as it is to be.
    var isExhausted: Bool {
        guard interval == nil else { return false }
        return servers.allSatisfy { if case .done = $0.state { true } else { false } }
    }
}
