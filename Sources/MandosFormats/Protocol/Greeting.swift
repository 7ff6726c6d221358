/// The line with which a Mandos client opens a connection: the protocol version, `1\r\n`.
///
/// Source: mandos(8), NETWORK PROTOCOL.
public enum Greeting {
    /// What a client sends.
    public static let line: [UInt8] = Array("1\r\n".utf8)

    /// The longest line that is read before the connection is given up, in bytes with its end.
    public static let longestLine = 64

    /// What the bytes received so far amount to.
    public enum Progress: Equatable, Sendable {
        case incomplete
        /// A greeting we serve; the TLS records begin after `length` bytes.
        case accepted(length: Int)
        case refused
    }

    /// Reads a greeting from the first bytes of a connection. Any integer up to 1 is a version we serve.
    public static func read(_ bytes: Span<UInt8>) -> Progress {
        for index in 0..<min(bytes.count, longestLine) where bytes[index] == UInt8(ascii: "\n") {
            return isServed(bytes, length: index) ? .accepted(length: index + 1) : .refused
        }
        return bytes.count < longestLine ? .incomplete : .refused
    }

    private static func isServed(_ bytes: Span<UInt8>, length: Int) -> Bool {
        var position = 0
        while position < length, isSpace(bytes[position]) { position += 1 }
        var isNegative = false
        if position < length, bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
            isNegative = bytes[position] == UInt8(ascii: "-")
            position += 1
        }
        var digits = 0
        var version = 0  // clamped to 2: all that matters is whether it is above 1
        while position < length, let digit = decimalDigit(bytes[position]) {
            version = min(version * 10 + Int(digit), 2)
            digits += 1
            position += 1
        }
        let fieldEnds = position == length || isSpace(bytes[position])
        return digits > 0 && fieldEnds && (isNegative || version <= 1)
    }
}
