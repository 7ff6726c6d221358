import DequeModule

/// Whose turn it is to be checked: at most so many at once, the others in the order in which they came.
public struct CheckerTurns: Sendable {
    private let limit: Int
    private var running: Set<String> = []
    private var waiting: Deque<String> = []

    /// `limit` is how many checkers may run at once.
    public init(limit: Int) { self.limit = limit }

    /// Another one is due.
    public mutating func enqueue(_ name: String) { waiting.append(name) }

    /// Who has been waiting for longest.
    public var first: String? { waiting.first }

    /// How many are waiting.
    public var waitingCount: Int { waiting.count }

    /// The next one to start, if there is room for it. One whose last checker has not ended yet keeps waiting.
    public mutating func start(where isWanted: (String) -> Bool) -> String? {
        var postponed: [String] = []
        defer { for name in postponed.reversed() { waiting.prepend(name) } }
        while running.count < limit, let name = waiting.popFirst() {
            if !isWanted(name) { continue }
            if running.contains(name) {
                postponed.append(name)
                continue
            }
            running.insert(name)
            return name
        }
        return nil
    }

    /// A checker has ended, or could not be started.
    public mutating func ended(_ name: String) { running.remove(name) }
}
