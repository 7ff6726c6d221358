public import MandosFormats

/// Which of the log lines that strangers cause are written: a number for each source and a number in all, within each
/// period. The others are counted.
///
/// It remembers only sources with a written line: its size has a limit, whatever comes.
public struct LogAllowance: Sendable {
    /// The length of a period, which begins with its first line.
    public static let period = TimeSpan.minutes(1)
    /// The most lines of one source within a period.
    public static let mostOfOneSource = 10
    /// The most lines of all sources within a period.
    public static let mostInAll = 60

    private var end: BootTime?
    private var written: [String: Int] = [:]
    private var writtenInAll = 0
    /// How many lines were left out since the last report.
    public private(set) var leftOut = 0

    public init() {}

    /// Whether a line that `source` causes is to be written; counts it.
    public mutating func admit(from source: String, at now: BootTime) -> Bool {
        if end.map({ now >= $0 }) ?? true {
            end = now + Self.period
            (written, writtenInAll) = ([:], 0)
        }
        guard writtenInAll < Self.mostInAll, written[source, default: 0] < Self.mostOfOneSource else {
            leftOut += 1
            return false
        }
        written[source, default: 0] += 1
        writtenInAll += 1
        return true
    }

    /// When the number of lines that were left out has to be reported; nil if there are none.
    public var reportDue: BootTime? { leftOut > 0 ? end : nil }

    /// The number of lines that were left out; it is reported once.
    public mutating func takeLeftOut() -> Int {
        defer { leftOut = 0 }
        return leftOut
    }
}
