import MandosFormats

/// Decides which lines about announced servers are shown: strangers can announce any number of them. Pure: does no input or output.
struct AnnouncedServersLog {
    /// Number of lines before most of them are only counted: more than a LAN has servers.
    static let maximumLines = 20
    /// The time between two summaries, in milliseconds, and the number of servers from which on there are some.
    static let period: Int64 = 10_000
    static let manyServers = 20

    private var lines = 0
    private var hidden = 0
    private(set) var nextSummary: BootTime

    init(at now: BootTime) { nextSummary = now.after(milliseconds: Self.period) }

    /// Whether to show one more line; it is counted otherwise.
    mutating func admitsLine() -> Bool {
        if lines >= Self.maximumLines {
            hidden += 1
            return false
        }
        lines += 1
        return true
    }

    /// The summary of the last period, at its end, if there is something to tell.
    mutating func summary(knowing servers: Int, asking attempts: Int, at now: BootTime) -> String? {
        guard now >= nextSummary else { return nil }
        nextSummary = now.after(milliseconds: Self.period)
        guard servers > Self.manyServers || hidden > 0 else { return nil }
        defer { hidden = 0 }
        let failures = hidden > 0 ? "; \(hidden) more messages about them are not shown" : ""
        return "\(servers) servers are announced, \(attempts) are being asked, and none has given a password yet"
            + failures
    }
}
