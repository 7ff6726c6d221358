import MandosFormats
import POSIXKit

/// When which server is to be tried: each one again and again, `interval` apart, but never twice at the same time.
///
/// Source: mandos-client(8mandos) `--retry`.
struct RetrySchedule {
    private enum State {
        case waiting(until: BootTime)
        /// What is missing is on our side.
        case waitingForNetwork(until: BootTime)
        case trying(since: BootTime)
        case done
    }

    /// However short an interval is asked for, a server is not asked more often than this, in milliseconds.
    static let shortestInterval: Int64 = 100

    private let interval: Int64?
    private var servers: [(id: Int, state: State)] = []
    private var nextID = 0

    /// `interval` is in milliseconds; nil means that each server is tried once.
    init(interval: Int64?) { self.interval = interval.map { max($0, Self.shortestInterval) } }

    /// A server has become known: it is due at once.
    ///
    /// - Returns: what it is called here; never used again for another one.
    mutating func add(at now: BootTime) -> Int {
        defer { nextID += 1 }
        servers.append((nextID, .waiting(until: now)))
        return nextID
    }

    /// A server is not to be tried any more.
    mutating func remove(_ server: Int) { servers.removeAll { $0.id == server } }

    /// The servers to try now, `most` of them, those first that have been due longest; from now on they count as being tried.
    mutating func begin(at now: BootTime, most: Int = .max) -> [Int] {
        var due: [(index: Int, since: BootTime)] = []
        for index in servers.indices {
            switch servers[index].state {
            case .waiting(let until), .waitingForNetwork(let until): if until <= now { due.append((index, until)) }
            case .trying, .done: continue
            }
        }
        if due.count > most { due = Array(due.sorted { $0.since < $1.since }.prefix(most)) }
        for (index, _) in due { servers[index].state = .trying(since: now) }
        return due.map { servers[$0.index].id }
    }

    /// Trying `server` has come to nothing; `lacksNetwork` if that may change with our network.
    ///
    /// `jitter`, in milliseconds, is added to the interval: machines that start together do not ask together for ever.
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

    /// There is something new about a server: it is due now, unless it is being tried.
    mutating func renew(_ server: Int, at now: BootTime) {
        guard let index = servers.firstIndex(where: { $0.id == server }) else { return }
        switch servers[index].state {
        case .waiting, .waitingForNetwork: servers[index].state = .waiting(until: now)
        case .trying, .done: break
        }
    }

    /// Something may be reachable that was not.
    mutating func networkHasChanged(at now: BootTime) {
        for index in servers.indices {
            if case .waitingForNetwork = servers[index].state { servers[index].state = .waiting(until: now) }
        }
    }

    /// When the next server is due.
    var nextDue: BootTime? {
        var earliest: BootTime?
        for (_, state) in servers {
            switch state {
            case .waiting(let until), .waitingForNetwork(let until): earliest = min(earliest ?? until, until)
            case .trying, .done: continue
            }
        }
        return earliest
    }

    /// Whether nothing more will happen.
    var isExhausted: Bool {
        guard interval == nil else { return false }
        return servers.allSatisfy { server in
            switch server.state {
            case .done: true
            case .waiting, .waitingForNetwork, .trying: false
            }
        }
    }
}
