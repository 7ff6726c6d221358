import MandosFormats
import POSIXKit

/// Limits on the attempts that are under way at the same time.
struct AttemptLimits {
    /// Number of attempts. Beyond it, old ones make room for new ones.
    var attempts = 200
    /// What servers have sent, in bytes. Beyond it, the attempt that holds most is given up.
    var receivedBytes = 3 * ProtocolLimits.largestSecret
    /// Number of messages decrypted at the same time; the others wait for their turn.
    var decryptions = 4
}

/// The attempts under way, within ``AttemptLimits``.
///
/// What attempts do is a parameter, so that tests need no network.
struct AttemptPool<Work: AttemptWork> {
    private let limits: AttemptLimits
    private var attempts: [FetchAttempt<Work>] = []
    // Where the current turn is.
    private var position = 0
    private var decryptionCount = 0

    init(limits: AttemptLimits = AttemptLimits()) { self.limits = limits }

    /// `peer` is whom the attempt talks to.
    mutating func add(_ work: Work, for server: Int, peer: SocketAddress.Peer? = nil, at now: BootTime) {
        attempts.append(FetchAttempt(server: server, peer: peer, begun: now, work: work))
    }

    func isTrying(_ server: Int) -> Bool { attempts.contains { $0.server == server } }

    func register(in set: inout PollSet) {
        for attempt in attempts { attempt.work.register(in: &set) }
    }

    // MARK: Turns

    mutating func beginTurn() {
        position = 0
        decryptionCount = 0
    }

    /// Lets the attempts go on, each one once in a turn, until there is a result to act on.
    ///
    /// - Returns: the server and the result, nil at the end of the turn. An attempt whose result ends it is gone then.
    mutating func advance(at now: BootTime) -> (server: Int, result: AttemptResult)? {
        while position < attempts.count {
            let attempt = attempts[position]
            if attempt.work.isDecryption, decryptionCount >= limits.decryptions {
                position += 1
                continue
            }
            let result = attempt.work.advance(at: now)
            switch result {
            case .underWay:
                position += 1
                if attempt.work.isDecryption { decryptionCount += 1 }
                continue
            case .answered, .received, .decrypted, .failed: attempts.remove(at: position)
            }
            return (attempt.server, result)
        }
        return nil
    }

    // MARK: Limits

    var count: Int { attempts.count }

    private var isFull: Bool { attempts.count >= limits.attempts }

    /// How many attempts may begin now, if old ones make room for them.
    func room(at now: BootTime) -> Int {
        max(limits.attempts - attempts.count, 0) + attempts.count { $0.isReplaceable(at: now) }
    }

    /// From when on there is room for one more attempt that is due at `due`; nil if an attempt has to end first.
    func nextRoom(from due: BootTime) -> BootTime? {
        guard isFull else { return due }
        return attempts.compactMap { $0.replaceableFrom }.min().map { max($0, due) }
    }

    /// Gives up an attempt that may be replaced, if there is no room otherwise: of the peer that has most attempts under way, the
    /// one that might have been given up first.
    ///
    /// - Returns: the server that it asked.
    mutating func makeRoom(at now: BootTime) -> Int? {
        guard isFull else { return nil }
        var victim: (index: Int, crowd: Int, since: BootTime)?
        for (index, attempt) in attempts.enumerated() {
            guard let since = attempt.replaceableFrom, since <= now else { continue }
            let crowd = attempts.count { $0.peer == attempt.peer }
            if let victim, victim.crowd > crowd || victim.crowd == crowd && victim.since <= since { continue }
            victim = (index, crowd, since)
        }
        return victim.map { attempts.remove(at: $0.index).server }
    }

    /// Gives up the attempt that holds most bytes, if all hold too many together.
    ///
    /// - Returns: the server that it asked.
    mutating func boundMemory() -> Int? {
        guard attempts.reduce(0, { $0 + $1.work.size }) > limits.receivedBytes,
            let index = attempts.indices.max(by: { attempts[$0].work.size < attempts[$1].work.size })
        else { return nil }
        return attempts.remove(at: index).server
    }
}
