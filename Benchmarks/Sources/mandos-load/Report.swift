import FoundationEssentials

/// What is printed of errands that have an end: for programs, as JSON.
struct VisitReport: Encodable {
    struct Latency: Encodable {
        let p50: Double
        let p90: Double
        let p99: Double
        let max: Double
    }

    let succeeded: Int
    /// By reason.
    let failed: [String: Int]
    let seconds: Double
    /// nil if nobody succeeded.
    let latencyInMilliseconds: Latency?

    init(_ outcome: Crowd.Outcome) {
        let times = outcome.times
        succeeded = times.count
        failed = outcome.failures
        seconds = outcome.total.seconds
        // The smallest time that so many percent of all did not exceed.
        func percentile(_ percent: Int) -> Double {
            times[max(0, (times.count * percent + 99) / 100 - 1)].seconds * 1000
        }
        latencyInMilliseconds =
            times.isEmpty
            ? nil : Latency(p50: percentile(50), p90: percentile(90), p99: percentile(99), max: percentile(100))
    }
}

/// What is printed of those who only wait.
struct IdleReport: Encodable {
    let closedByServer: Int
    /// Nobody was closed, if nil.
    let earliestInSeconds: Double?
    let latestInSeconds: Double?
    let failed: [String: Int]

    init(_ outcome: Crowd.Outcome) {
        closedByServer = outcome.times.count
        earliestInSeconds = outcome.times.first?.seconds
        latestInSeconds = outcome.times.last?.seconds
        failed = outcome.failures
    }
}

/// What is printed once all who only wait are there.
struct HoldingReport: Encodable {
    let holding: Int
}

extension Encodable {
    /// Prints it as one line of JSON, at once.
    func report() {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(self) else { preconditionFailure("a report is numbers and text") }
        print(String(decoding: bytes, as: UTF8.self))
        flushOutput()
    }
}

extension Duration {
    fileprivate var seconds: Double { self / .seconds(1) }
}
