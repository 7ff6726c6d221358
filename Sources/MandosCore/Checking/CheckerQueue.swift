import DequeModule
public import MandosFormats

/// The checks that are due, in the order in which they became due, and the checkers that are running.
public struct CheckerQueue: Sendable {
    private let limit: Int
    private var running: [String: BootTime] = [:]
    private var waiting: Deque<String> = []

    /// `limit` is how many checkers may run at the same time.
    public init(limit: Int) { self.limit = limit }

    /// Adds a check that is due.
    public mutating func enqueue(_ name: String) { waiting.append(name) }

    /// The client that has been queued for longest among those whose check `isWanted`.
    public func first(where isWanted: (String) -> Bool) -> String? { waiting.first(where: isWanted) }

    /// How many checks are queued.
    public var waitingCount: Int { waiting.count }

    /// Takes out the next client to check, if another checker may run. A client whose last checker runs stays queued.
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

    /// Removes a checker that has ended or could not be started.
    public mutating func ended(_ name: String) { running[name] = nil }

    /// Clients whose checkers have been running for longer than `limit`, at most one for each check that is queued.
    public func overdue(at now: BootTime, limit: (String) -> TimeSpan) -> [String] {
        let names = running.filter { now - $0.value > limit($0.key) }.sorted { $0.value < $1.value }.map(\.key)
        return Array(names.prefix(waiting.count))
    }
}
