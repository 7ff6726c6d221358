import MandosFormats
import POSIXKit

/// When to try each server: again and again, `interval` apart, but never twice at the same time.
///
/// Source: mandos-client(8mandos) `--retry`.
struct RetrySchedule {
    private enum State {
        /// Never tried.
        case new(due: BootTime)
        case waiting(until: BootTime)
        /// The last try failed for lack of a network; a change of the network ends the wait.
        case waitingForNetwork(until: BootTime)
        case trying(since: BootTime)
        case done

        var due: BootTime? {
            switch self {
            case .new(let until), .waiting(let until), .waitingForNetwork(let until): until
            case .trying, .done: nil
            }
        }

        var isNew: Bool {
            if case .new = self { true } else { false }
        }
    }

    private struct Server {
        let id: Int
        /// Nil if it is named, and not announced.
        let peer: SocketAddress.Peer?
        var state: State
    }

    /// The shortest interval between two tries of one server, in milliseconds, whatever is asked for.
    static let shortestInterval: Int64 = 100

    private let interval: Int64?
    private let random: (_ below: Int) -> Int
    private var servers: [Server] = []
    private var nextID = 0

    /// `interval` is in milliseconds; nil means that each server is tried once.
    init(
        interval: Int64?, random: @escaping (_ below: Int) -> Int = { Int(randomNumber(below: UInt32($0))) }
    ) {
        self.interval = interval.map { max($0, Self.shortestInterval) }
        self.random = random
    }

    /// Adds a server; one that is announced has a `peer`.
    ///
    /// - Returns: its ID, which is never used again for another server.
    mutating func add(at due: BootTime, peer: SocketAddress.Peer? = nil) -> Int {
        defer { nextID += 1 }
        servers.append(Server(id: nextID, peer: peer, state: .new(due: due)))
        return nextID
    }

    /// Whether a server has never been tried.
    func isNew(_ server: Int) -> Bool { servers.contains { $0.id == server && $0.state.isNew } }

    /// Removes a server: it is not tried again.
    mutating func remove(_ server: Int) { servers.removeAll { $0.id == server } }

    /// Selects the servers to try now, at most `maximum`. They count as being tried from now on.
    ///
    /// Those that have never been tried go first, named ones before announced ones, so that however many servers fail, a new one is
    /// asked. The others follow in the order in which they became due.
    mutating func begin(at now: BootTime, atMost maximum: Int = .max) -> [Int] {
        guard maximum > 0 else { return [] }
        var due = servers.indices.filter { servers[$0].state.due.map { $0 <= now } ?? false }
        if due.count > maximum {
            let all = due
            due = all.filter { servers[$0].state.isNew && servers[$0].peer == nil }
            due += some(maximum - due.count, of: all.filter { servers[$0].state.isNew && servers[$0].peer != nil })
            let tried = all.filter { !servers[$0].state.isNew }.map { (index: $0, due: servers[$0].state.due ?? now) }
            due += tried.sorted { $0.due < $1.due }.map { $0.index }
            due = Array(due.prefix(maximum))
        }
        for index in due { servers[index].state = .trying(since: now) }
        return due.map { servers[$0].id }
    }

    /// Draws servers by lot: first a peer, then one of its servers, so that a peer gains nothing by announcing many, and nobody can
    /// know when it is whose turn.
    private func some(_ count: Int, of candidates: [Int]) -> [Int] {
        var rest = candidates.map { (index: $0, peer: servers[$0].peer ?? 0) }.sorted { $0.peer < $1.peer }
        var drawn: [Int] = []
        while drawn.count < count, !rest.isEmpty {
            let begins = rest.indices.filter { $0 == 0 || rest[$0].peer != rest[$0 - 1].peer }
            let begin = random(begins.count)
            let end = begin + 1 < begins.count ? begins[begin + 1] : rest.count
            drawn.append(rest.remove(at: begins[begin] + random(end - begins[begin])).index)
        }
        return drawn
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
