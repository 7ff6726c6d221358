import HeapModule
public import MandosFormats

/// The next deadline of each client, earliest first: one queue instead of a timer for each client.
public struct DeadlineQueue: Sendable {
    private struct Entry: Comparable {
        let deadline: BootTime
        let name: String

        static func < (left: Entry, right: Entry) -> Bool { left.deadline < right.deadline }
    }

    // An entry of the heap is valid only while it agrees with `current`; others are skipped.
    private var heap = Heap<Entry>()
    private var current: [String: BootTime] = [:]

    public init() {}

    /// Sets the deadline of `name`; nil removes it.
    public mutating func set(_ deadline: BootTime?, for name: String) {
        guard current[name] != deadline else { return }
        current[name] = deadline
        if let deadline { heap.insert(Entry(deadline: deadline, name: name)) }
        if heap.count > 2 * current.count + 64 { rebuild() }
    }

    /// The earliest deadline.
    public mutating func next() -> BootTime? {
        dropStale()
        return heap.min?.deadline
    }

    /// Removes and returns one name whose deadline has passed.
    public mutating func popDue(at now: BootTime) -> String? {
        dropStale()
        guard let entry = heap.min, entry.deadline <= now else { return nil }
        heap.removeMin()
        current[entry.name] = nil
        return entry.name
    }

    private mutating func dropStale() {
        while let entry = heap.min, current[entry.name] != entry.deadline { heap.removeMin() }
    }

    private mutating func rebuild() {
        heap = Heap(current.map { Entry(deadline: $0.value, name: $0.key) })
    }
}
