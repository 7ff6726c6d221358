/// The packet structure of OpenPGP messages and keys.
public enum OpenPGPMessage {
    /// Whether the message consists of encrypted session keys and data with a modification detection code, which every
    /// implementation of RFC 4880 reads. Tag 20, written by GnuPG 2.4, is LibrePGP's OCB, which only some read.
    ///
    /// Source: RFC 4880 §4.2, §5.1, §5.13.
    public static func isReadableByAll(_ message: [UInt8]) -> Bool {
        guard let last = lastOfEncrypted(message) else { return false }
        return last.tag == 18 && last.firstByte == 1
    }

    /// Whether the whole message is encrypted with integrity protection: session keys, then one packet of data.
    ///
    /// Decryption programs also accept a message that is not encrypted; a false server could then choose our password.
    public static func isEncrypted(_ message: [UInt8]) -> Bool {
        guard let last = lastOfEncrypted(message) else { return false }
        return last.tag == 18 || last.tag == 20
    }

    /// Maximum number of session keys: decryption may try each one with each key. A secret is encrypted to one client.
    private static let maximumSessionKeys = 16

    /// The packet after the session keys, if it is the only one.
    private static func lastOfEncrypted(_ message: [UInt8]) -> (tag: UInt8, firstByte: UInt8)? {
        guard let packets = packets(of: message), let last = packets.last, packets.count > 1,
            packets.count <= maximumSessionKeys + 1,
            packets.dropLast().allSatisfy({ $0.tag == 1 })
        else { return nil }
        return last
    }

    /// The creation time of the first key in a key file, in seconds since 1970; nil if there is no key.
    ///
    /// Source: RFC 4880 §5.5.2, RFC 9580 §5.5.2.
    public static func creationOfKey(_ key: [UInt8]) -> Int64? {
        // The time is among the first 11 bytes; no part of a secret key is copied, which would have to be zeroed.
        var rest = withoutArmor(key, atMost: 16)[...]
        guard let header = rest.popFirst(), header & 0x80 != 0 else { return nil }
        let isNewFormat = header & 0x40 != 0
        let tag = isNewFormat ? header & 0x3F : header >> 2 & 0x0F
        // A secret or a public key.
        guard tag == 5 || tag == 6, (isNewFormat ? newLength(&rest) : oldLength(header & 3, &rest)) != nil,
            let version = rest.popFirst(), version >= 4
        else { return nil }
        return number(bytes: 4, &rest).map { Int64($0) }
    }

    /// The message or key without its ASCII armor, if it has one. Source: RFC 4880 §6.2.
    ///
    /// `limit` is the maximum number of characters to decode, a multiple of four.
    public static func withoutArmor(_ message: [UInt8], atMost limit: Int = .max) -> [UInt8] {
        let header = Array("-----BEGIN PGP ".utf8)
        guard message.starts(with: header) else { return message }
        let lines = message.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        var body: [UInt8] = []
        let start = lines.firstIndex { $0.allSatisfy { isSpace($0) } } ?? lines.endIndex
        for line in lines[start...] {
            // The checksum, or the end.
            if line.first == UInt8(ascii: "=") || line.first == UInt8(ascii: "-") { break }
            body += line.prefix(limit - body.count)
            if body.count == limit { break }
        }
        return (try? Base64.decode(String(decoding: body, as: UTF8.self))) ?? message
    }

    /// The tag of each packet and the first byte of its contents, or nil if these are not packets.
    private static func packets(of message: [UInt8]) -> [(tag: UInt8, firstByte: UInt8)]? {
        var rest = message[...]
        var packets: [(tag: UInt8, firstByte: UInt8)] = []
        while let header = rest.popFirst() {
            guard header & 0x80 != 0 else { return nil }
            let isNewFormat = header & 0x40 != 0
            let tag = isNewFormat ? header & 0x3F : header >> 2 & 0x0F
            var firstByte: UInt8?
            while true {
                guard let (length, isLast) = isNewFormat ? newLength(&rest) : oldLength(header & 3, &rest),
                    length <= rest.count
                else { return nil }
                firstByte = firstByte ?? rest.first
                rest = rest.dropFirst(length)
                if isLast { break }
            }
            guard let firstByte else { return nil }
            packets.append((tag, firstByte))
        }
        return packets
    }

    /// Source: RFC 4880 §4.2.2. A partial length is followed by more of the same packet.
    private static func newLength(_ rest: inout ArraySlice<UInt8>) -> (length: Int, isLast: Bool)? {
        guard let first = rest.popFirst() else { return nil }
        switch first {
        case 0..<192: return (Int(first), true)
        case 192..<224: return rest.popFirst().map { ((Int(first) - 192) << 8 + Int($0) + 192, true) }
        case 255: return number(bytes: 4, &rest).map { ($0, true) }
        default: return (1 << Int(first & 0x1F), false)
        }
    }

    /// Source: RFC 4880 §4.2.1.
    private static func oldLength(_ type: UInt8, _ rest: inout ArraySlice<UInt8>) -> (length: Int, isLast: Bool)? {
        switch type {
        case 3: (rest.count, true)
        default: number(bytes: 1 << Int(type), &rest).map { ($0, true) }
        }
    }

    private static func number(bytes count: Int, _ rest: inout ArraySlice<UInt8>) -> Int? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
    }
}
