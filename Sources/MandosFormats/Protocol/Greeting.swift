/// The first line that a Mandos client sends: the protocol version, `1\r\n`.
///
/// Source: mandos(8), NETWORK PROTOCOL.
public enum Greeting {
    /// The line that a client sends.
    public static let line: [UInt8] = Array("1\r\n".utf8)

    /// Maximum length of a greeting with its end, in bytes; a longer one is refused.
    public static let longestLine = 64

    /// The state of a greeting that is being received.
    public enum Progress: Equatable, Sendable {
        case incomplete
        /// A greeting with a supported version; the TLS records begin after `length` bytes.
        case accepted(length: Int)
        case refused
    }

    /// Reads a greeting from the first bytes of a connection. Every integer up to 1 is a supported version.
    public static func read(_ bytes: Span<UInt8>) -> Progress {
        for index in 0..<min(bytes.count, longestLine) where bytes[index] == UInt8(ascii: "\n") {
            return isSupported(bytes, length: index) ? .accepted(length: index + 1) : .refused
        }
        return bytes.count < longestLine ? .incomplete : .refused
    }

    private static func isSupported(_ bytes: Span<UInt8>, length: Int) -> Bool {
        var position = 0
        while position < length, isSpace(bytes[position]) { position += 1 }
        var isNegative = false
        if position < length, bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
            isNegative = bytes[position] == UInt8(ascii: "-")
            position += 1
        }
        var digits = 0
        var version = 0  // clamped to 2: only whether it is above 1 matters
        while position < length, let digit = decimalDigit(bytes[position]) {
            version = min(version * 10 + Int(digit), 2)
            digits += 1
            position += 1
        }
        let fieldEnds = position == length || isSpace(bytes[position])
        return digits > 0 && fieldEnds && (isNegative || version <= 1)
    }
}
