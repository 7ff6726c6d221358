import DequeModule
public import MandosFormats

/// Whose turn it is to be checked: at most so many at once, the others in the order in which they came.
public struct CheckerQueue: Sendable {
    private let limit: Int
    private var running: [String: BootTime] = [:]
    private var waiting: Deque<String> = []

    /// `limit` is how many checkers may run at once.
    public init(limit: Int) { self.limit = limit }

    /// Another one is due.
    public mutating func enqueue(_ name: String) { waiting.append(name) }

    /// Who has been waiting for longest, of those who still want their turn.
    public func first(where isWanted: (String) -> Bool) -> String? { waiting.first(where: isWanted) }

    /// How many are waiting.
    public var waitingCount: Int { waiting.count }

    /// The next one to start, if there is room for it. One whose last checker has not ended yet keeps waiting.
    public mutating func start(at now: BootTime, where isWanted: (String) -> Bool) -> String? {
        var postponed: [String] = []
        defer { for name in postponed.reversed() { waiting.prepend(name) } }
        while running.count < limit, let name = waiting.popFirst() {
            if !isWanted(name) { continue }
            if running[name] != nil {
                postponed.append(name)
                continue
            }
            running[name] = now
            return name
        }
        return nil
    }

    /// A checker has ended, or could not be started.
    public mutating func ended(_ name: String) { running[name] = nil }

    /// Those that have been running for longer than `limit` says, for each that waits.
    public func overdue(at now: BootTime, limit: (String) -> TimeSpan) -> [String] {
        let names = running.filter { now - $0.value > limit($0.key) }.sorted { $0.value < $1.value }.map(\.key)
        return Array(names.prefix(waiting.count))
    }
}
