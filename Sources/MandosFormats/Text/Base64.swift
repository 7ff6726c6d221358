/// Base64 with the standard alphabet, as used for `secret` in clients.conf. Source: RFC 4648 §4.
public enum Base64 {
    /// Why a text is not Base64.
    public enum Problem: Error, Equatable, CustomStringConvertible {
        case notInAlphabet
        case truncated

        public var description: String {
            switch self {
            case .notInAlphabet: "not Base64: there is a character outside A-Z a-z 0-9 + / ="
            case .truncated: "not Base64: the last group of four characters is incomplete"
            }
        }
    }

    /// Decodes `text`, which may have white space anywhere.
    public static func decode(_ text: String) throws(Problem) -> [UInt8] {
        let characters = text.utf8
        return try decode(characters.span)
    }

    private static func decode(_ text: Span<UInt8>) throws(Problem) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        var sextets = 0
        var padding = 0
        for index in text.indices {
            let byte = text[index]
            if isSpace(byte) { continue }
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            let sextet = values[Int(byte)]
            guard sextet < 64, padding == 0 else { throw .notInAlphabet }
            group = group << 6 | UInt32(sextet)
            sextets += 1
            if sextets == 4 {
                bytes.append(UInt8(truncatingIfNeeded: group >> 16))
                bytes.append(UInt8(truncatingIfNeeded: group >> 8))
                bytes.append(UInt8(truncatingIfNeeded: group))
                sextets = 0
            }
        }
        switch (sextets, padding) {
        case (0, 0): break
        case (2, 2): bytes.append(UInt8(truncatingIfNeeded: group >> 4))
        case (3, 1):
            bytes.append(UInt8(truncatingIfNeeded: group >> 10))
            bytes.append(UInt8(truncatingIfNeeded: group >> 2))
        default: throw .truncated
        }
        return bytes
    }

    private static let values: [UInt8] = {
        var table = [UInt8](repeating: 255, count: 256)
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (index, byte) in alphabet.description.utf8.enumerated() { table[Int(byte)] = UInt8(index) }
        return table
    }()
}
