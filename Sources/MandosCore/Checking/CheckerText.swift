import MandosFormats

/// Times as texts for checkers: those of Python's `timedelta`, `datetime` and `None`, which checkers that were written for the
/// reference expect.
enum CheckerText {
    /// Such as `0:05:00`, `1 day, 2:03:04` or `0:00:00.500000`.
    static func of(_ span: TimeSpan) -> String {
        let seconds = span.milliseconds / 1000
        let days = seconds / 86_400
        let daysText = days == 0 ? "" : days == 1 ? "1 day, " : "\(days) days, "
        return daysText + "\(seconds / 3600 % 24):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
            + fraction(span.milliseconds % 1000)
    }

    /// In UTC, such as `2027-01-31 12:00:00` or `2027-01-31 12:00:00.123000`; `None` without a time.
    static func of(_ time: Timestamp?) -> String {
        guard let time else { return "None" }
        let milliseconds = (time.millisecondsSince1970 % 1000 + 1000) % 1000
        return time.rfc3339.dropLast().replacing("T", with: " ") + fraction(milliseconds)
    }

    /// Six digits, or nothing for zero.
    private static func fraction(_ milliseconds: Int64) -> String {
        milliseconds == 0 ? "" : "." + String(milliseconds + 1000).dropFirst() + "000"
    }

    private static func two(_ number: Int64) -> String { (number < 10 ? "0" : "") + String(number) }
}
