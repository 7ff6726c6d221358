/// A length of time in whole milliseconds, the unit of the D-Bus API.
public struct TimeSpan: Hashable, Comparable, Sendable {
    /// Never negative if read from text.
    public let milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static let zero = TimeSpan(milliseconds: 0)
    public static func seconds(_ count: Int64) -> TimeSpan { TimeSpan(milliseconds: count * 1000) }
    public static func minutes(_ count: Int64) -> TimeSpan { seconds(count * 60) }

    public static func + (left: TimeSpan, right: TimeSpan) -> TimeSpan {
        TimeSpan(milliseconds: left.milliseconds + right.milliseconds)
    }

    public static func - (left: TimeSpan, right: TimeSpan) -> TimeSpan {
        TimeSpan(milliseconds: left.milliseconds - right.milliseconds)
    }

    public static func < (left: TimeSpan, right: TimeSpan) -> Bool { left.milliseconds < right.milliseconds }
}

/// Why a text is not a duration, and the position of the error.
public struct DurationSyntaxError: Error, Equatable, CustomStringConvertible {
    public enum Problem: Equatable, Sendable {
        case empty, missingNumber, missingUnit, unknownUnit, unitOutOfOrder, tooLong
    }

    /// Offset of the first wrong byte.
    public let offset: Int
    public let problem: Problem

    public var description: String {
        switch problem {
        case .empty: "empty duration"
        case .missingNumber: "a number is missing at position \(offset + 1)"
        case .missingUnit: "a unit is missing at position \(offset + 1)"
        case .unknownUnit: "unknown unit at position \(offset + 1)"
        case .unitOutOfOrder: "unit repeated or out of order at position \(offset + 1)"
        case .tooLong: "longer than \(TimeSpan.longestYears) years"
        }
    }
}

extension TimeSpan {
    /// The longest duration: longer than any sensible timeout, and too short to overflow when added to a point in time.
    public static let longestYears: Int64 = 10_000
    public static let longest = TimeSpan(milliseconds: longestYears * 52 * week)

    private static let second: Int64 = 1000
    private static let minute = 60 * second
    private static let hour = 60 * minute
    private static let day = 24 * hour
    private static let week = 7 * day

    /// Reads `P1Y2M3DT4H5M6S`, `P2W`, or the older form `5m 30s`.
    ///
    /// A year is 52 weeks, a month 4 weeks. Units may be left out, also between others (`PT1H30S`).
    /// Source: mandos-clients.conf(5) `timeout`; RFC 3339 Appendix A.
    public init(parsing text: some StringProtocol) throws(DurationSyntaxError) {
        let bytes = Array(text.utf8)
        guard let first = bytes.first else { throw DurationSyntaxError(offset: 0, problem: .empty) }
        let milliseconds =
            first == UInt8(ascii: "P") ? try Self.rfc3339(bytes) : try Self.suffixed(bytes)
        self.init(milliseconds: milliseconds)
    }

    /// The duration in RFC 3339 format, such as `P1DT2H` or `PT0.5S`.
    public var rfc3339: String {
        let days = milliseconds / Self.day
        let hours = milliseconds % Self.day / Self.hour
        let minutes = milliseconds % Self.hour / Self.minute
        let seconds = milliseconds % Self.minute / Self.second
        let fraction = milliseconds % Self.second
        var text = "P"
        if days > 0 { text += String(days) + "D" }
        if milliseconds % Self.day > 0 || days == 0 { text += "T" }
        if hours > 0 { text += String(hours) + "H" }
        if minutes > 0 { text += String(minutes) + "M" }
        if seconds > 0 || fraction > 0 || milliseconds == 0 {
            text += String(seconds)
            if fraction > 0 { text += "." + String(Substring(String(fraction + 1000).utf8.dropFirst())) }
            text += "S"
        }
        return text
    }

    /// Reads a decimal number of seconds such as `10` or `2.5`; ignores digits after the third decimal.
    ///
    /// Source: mandos-client(8mandos) `--retry`, `--delay`.
    public init(decimalSeconds text: some StringProtocol) throws(DurationSyntaxError) {
        let bytes = Array(text.utf8)
        var position = 0
        var milliseconds = Sum()
        if bytes.first != UInt8(ascii: ".") {
            try milliseconds.add(try Self.number(bytes, &position), times: Self.second)
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            for unit: Int64 in [100, 10, 1] {
                guard position < bytes.count, let digit = decimalDigit(bytes[position]) else { break }
                try milliseconds.add(Int64(digit), times: unit)
                position += 1
            }
            while position < bytes.count, decimalDigit(bytes[position]) != nil { position += 1 }
        }
        if position < bytes.count { throw DurationSyntaxError(offset: position, problem: .missingNumber) }
        self.init(milliseconds: milliseconds.milliseconds)
    }

    private static func rfc3339(_ bytes: [UInt8]) throws(DurationSyntaxError) -> Int64 {
        let dateUnits: [(UInt8, Int64)] = [
            (UInt8(ascii: "Y"), 52 * week), (UInt8(ascii: "M"), 4 * week), (UInt8(ascii: "W"), week),
            (UInt8(ascii: "D"), day),
        ]
        let timeUnits: [(UInt8, Int64)] = [
            (UInt8(ascii: "H"), hour), (UInt8(ascii: "M"), minute), (UInt8(ascii: "S"), second),
        ]
        var sum = Sum()
        var units = dateUnits[...]
        var isTime = false
        var position = 1
        var needsNumber = true
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "T"), !isTime {
                isTime = true
                units = timeUnits[...]
                position += 1
                needsNumber = true
                continue
            }
            let number = try Self.number(bytes, &position)
            guard position < bytes.count else { throw DurationSyntaxError(offset: position, problem: .missingUnit) }
            guard let unit = units.firstIndex(where: { $0.0 == bytes[position] }) else {
                let known = dateUnits + timeUnits
                let problem = known.contains { $0.0 == bytes[position] }
                throw DurationSyntaxError(offset: position, problem: problem ? .unitOutOfOrder : .unknownUnit)
            }
            try sum.add(number, times: units[unit].1)
            units = units[(unit + 1)...]
            if units.isEmpty && position + 1 < bytes.count && bytes[position + 1] != UInt8(ascii: "T") {
                throw DurationSyntaxError(offset: position + 1, problem: .unitOutOfOrder)
            }
            position += 1
            needsNumber = false
        }
        if needsNumber { throw DurationSyntaxError(offset: position, problem: .missingNumber) }
        return sum.milliseconds
    }

    private static func suffixed(_ bytes: [UInt8]) throws(DurationSyntaxError) -> Int64 {
        var sum = Sum()
        var position = 0
        var sawNumber = false
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: " ") {
                position += 1
                continue
            }
            let number = try Self.number(bytes, &position)
            guard position < bytes.count else { throw DurationSyntaxError(offset: position, problem: .missingUnit) }
            let unit: Int64
            switch bytes[position] {
            case UInt8(ascii: "w"): unit = week
            case UInt8(ascii: "d"): unit = day
            case UInt8(ascii: "h"): unit = hour
            case UInt8(ascii: "m"): unit = minute
            case UInt8(ascii: "s"): unit = second
            default: throw DurationSyntaxError(offset: position, problem: .unknownUnit)
            }
            try sum.add(number, times: unit)
            position += 1
            sawNumber = true
        }
        if !sawNumber { throw DurationSyntaxError(offset: 0, problem: .empty) }
        return sum.milliseconds
    }

    private static func number(_ bytes: [UInt8], _ position: inout Int) throws(DurationSyntaxError) -> Int64 {
        let start = position
        var value: Int64 = 0
        while position < bytes.count, let digit = decimalDigit(bytes[position]) {
            guard value <= (Int64.max - 9) / 10 else { throw DurationSyntaxError(offset: start, problem: .tooLong) }
            value = value * 10 + Int64(digit)
            position += 1
        }
        if position == start { throw DurationSyntaxError(offset: start, problem: .missingNumber) }
        return value
    }

    private struct Sum {
        var milliseconds: Int64 = 0

        mutating func add(_ number: Int64, times unit: Int64) throws(DurationSyntaxError) {
            let (product, overflow) = number.multipliedReportingOverflow(by: unit)
            let (total, carry) = milliseconds.addingReportingOverflow(product)
            guard !overflow, !carry, total <= longestYears * 52 * week else {
                throw DurationSyntaxError(offset: 0, problem: .tooLong)
            }
            milliseconds = total
        }
    }
}
