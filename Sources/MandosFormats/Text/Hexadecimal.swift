/// Hexadecimal digits as printed by OpenPGP tools and `mandos-keygen`: in either case, with spaces anywhere.
public enum Hexadecimal {
    /// The value of one digit, or nil.
    @inline(always) static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: decimalDigit(byte)
        }
    }

    /// The bytes that `text` denotes, or nil if it has other characters or an odd number of digits.
    public static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 2)
        var high: UInt8?
        for byte in text.utf8 where !isSpace(byte) {
            guard let digit = digit(byte) else { return nil }
            if let upper = high {
                bytes.append(upper << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return high == nil ? bytes : nil
    }

    /// Two lower-case digits for each byte, without separators.
    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var digits: [UInt8] = []
        digits.reserveCapacity(2 * bytes.underestimatedCount)
        for byte in bytes {
            digits.append(lowerCase(byte >> 4))
            digits.append(lowerCase(byte & 15))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    private static func lowerCase(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
}
