/// Pauses that double, up to a limit; in milliseconds.
struct Backoff {
    let first: Int64
    let longest: Int64
    /// How many pauses there are.
    let most: Int

    private(set) var count = 0

    init(first: Int64, longest: Int64, most: Int) {
        self.first = first
        self.longest = longest
        self.most = most
    }

    /// - Returns: nil if there were ``most`` already.
    mutating func next() -> Int64? {
        guard count < most else { return nil }
        var pause = first
        for _ in 0..<count where pause < longest { pause *= 2 }
        count += 1
        return min(pause, longest)
    }

    mutating func reset() { count = 0 }
}
