/// A point in wall-clock time, in whole milliseconds since 1970-01-01T00:00:00Z.
public struct Timestamp: Hashable, Comparable, Sendable {
    public let millisecondsSince1970: Int64

    public init(millisecondsSince1970: Int64) { self.millisecondsSince1970 = millisecondsSince1970 }
    public init(secondsSince1970: Int64) { self.init(millisecondsSince1970: secondsSince1970 * 1000) }

    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.millisecondsSince1970 < right.millisecondsSince1970
    }
}

/// A text is neither a date nor a date with a time in RFC 3339 format.
public struct TimestampSyntaxError: Error, Equatable, CustomStringConvertible {
    public var description: String { "not an RFC 3339 date" }
}

extension Timestamp {
    /// Reads `2027-01-31` (midnight UTC) or `2027-01-31T12:00:00Z`, also with a fraction and an offset.
    ///
    /// Source: RFC 3339 §5.6. A leap second counts as the second after it.
    public init(rfc3339 text: some StringProtocol) throws(TimestampSyntaxError) {
        var reader = FixedFieldReader(bytes: Array(text.utf8))
        let year = try reader.number(digits: 4)
        try reader.expect("-")
        let month = try reader.number(digits: 2, in: 1...12)
        try reader.expect("-")
        let day = try reader.number(digits: 2, in: 1...31)
        guard day <= Self.daysInMonth(month, of: year) else { throw TimestampSyntaxError() }
        let midnight = Self.daysSince1970(year: year, month: month, day: day) * 86_400_000
        if reader.isAtEnd {
            self.init(millisecondsSince1970: midnight)
            return
        }
        try reader.expect("T", "t", " ")
        let hour = try reader.number(digits: 2, in: 0...23)
        try reader.expect(":")
        let minute = try reader.number(digits: 2, in: 0...59)
        try reader.expect(":")
        let second = try reader.number(digits: 2, in: 0...60)
        let fraction = try reader.fractionInMilliseconds()
        let offset = try reader.offsetInMinutes()
        let minutes = hour * 60 + minute - offset
        self.init(millisecondsSince1970: midnight + (minutes * 60 + second) * 1000 + fraction)
    }

    /// The time in UTC and whole seconds, such as `2027-01-31T12:00:00Z`.
    public var rfc3339: String {
        let seconds = Self.floorDivide(millisecondsSince1970, 1000)
        let days = Self.floorDivide(seconds, 86_400)
        let (year, month, day) = Self.date(daysSince1970: days)
        let time = seconds - days * 86_400
        var text = ""
        text += Self.padded(year, 4) + "-" + Self.padded(month, 2) + "-" + Self.padded(day, 2)
        text += "T" + Self.padded(time / 3600, 2) + ":" + Self.padded(time / 60 % 60, 2)
        text += ":" + Self.padded(time % 60, 2) + "Z"
        return text
    }

    // The proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March,
    // so that the leap day is the last of its year.

    private static let daysPerEra: Int64 = 146_097
    private static let daysFromEraStartTo1970: Int64 = 719_468

    private static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let marchYear = month <= 2 ? year - 1 : year
        let era = floorDivide(marchYear, 400)
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * daysPerEra + dayOfEra - daysFromEraStartTo1970
    }

    private static func date(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let days = daysSince1970 + daysFromEraStartTo1970
        let era = floorDivide(days, daysPerEra)
        let dayOfEra = days - era * daysPerEra
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func daysInMonth(_ month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : -((-value + divisor - 1) / divisor)
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        var text = String(value)
        while text.utf8.count < width { text = "0" + text }
        return text
    }
}

private struct FixedFieldReader {
    let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func number(digits: Int, in range: ClosedRange<Int64> = 0...9999) throws(TimestampSyntaxError) -> Int64 {
        var value: Int64 = 0
        for _ in 0..<digits {
            guard let byte = next(), let digit = decimalDigit(byte) else { throw TimestampSyntaxError() }
            value = value * 10 + Int64(digit)
        }
        guard range.contains(value) else { throw TimestampSyntaxError() }
        return value
    }

    mutating func expect(_ wanted: Unicode.Scalar...) throws(TimestampSyntaxError) {
        guard let byte = next(), wanted.contains(Unicode.Scalar(byte)) else { throw TimestampSyntaxError() }
    }

    mutating func fractionInMilliseconds() throws(TimestampSyntaxError) -> Int64 {
        guard position < bytes.count, bytes[position] == UInt8(ascii: ".") else { return 0 }
        position += 1
        var value: Int64 = 0
        var digits = 0
        while position < bytes.count, let digit = decimalDigit(bytes[position]) {
            if digits < 3 { value = value * 10 + Int64(digit) }
            digits += 1
            position += 1
        }
        guard digits > 0 else { throw TimestampSyntaxError() }
        while digits < 3 {
            value *= 10
            digits += 1
        }
        return value
    }

    mutating func offsetInMinutes() throws(TimestampSyntaxError) -> Int64 {
        guard let sign = next() else { throw TimestampSyntaxError() }
        var minutes: Int64 = 0
        switch sign {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"): break
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            let hours = try number(digits: 2, in: 0...23)
            try expect(":")
            minutes = hours * 60 + (try number(digits: 2, in: 0...59))
            if sign == UInt8(ascii: "-") { minutes = -minutes }
        default: throw TimestampSyntaxError()
        }
        guard isAtEnd else { throw TimestampSyntaxError() }
        return minutes
    }

    private mutating func next() -> UInt8? {
        guard position < bytes.count else { return nil }
        defer { position += 1 }
        return bytes[position]
    }
}
