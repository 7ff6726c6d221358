/// Pauses that double, up to a limit; in milliseconds.
public struct Backoff {
    public let first: Int64
    public let longest: Int64
    /// How many pauses there are.
    public let most: Int

    public private(set) var count = 0

    public init(first: Int64, longest: Int64, most: Int) {
        self.first = first
        self.longest = longest
        self.most = most
    }

    /// - Returns: nil if there were ``most`` already.
    public mutating func next() -> Int64? {
        guard count < most else { return nil }
        var pause = first
        for _ in 0..<count where pause < longest { pause *= 2 }
        count += 1
        return min(pause, longest)
    }

    public mutating func reset() { count = 0 }
}
