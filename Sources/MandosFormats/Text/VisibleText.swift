/// Whether terminals and viewers of logs obey `scalar` instead of showing it: control characters, line separators, and marks
/// that change the direction of the text around them.
///
/// Source: Unicode Standard, 23.1 (C0 and C1), 5.8 (line and paragraph separators); UAX #9, 2 (directional formatting).
public func isControl(_ scalar: Unicode.Scalar) -> Bool { isControl(scalar.value) }

private func isControl(_ number: UInt32) -> Bool {
    switch number {
    case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: true
    case 0x61C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
}

/// `text` in one line: white space becomes spaces, and other characters that ``isControl(_:)`` finds are written as `\u{9b}`.
public func singleLine(_ text: String) -> String {
    // Most text needs no change, and every line of the log comes here.
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return text }
    return String(decoding: printable(Array(text.utf8), keepingLines: false), as: UTF8.self)
}

/// UTF-8 text with the characters that ``isControl(_:)`` finds written as `\u{9b}`, except line breaks and tabs, which are kept
/// or become spaces. Works on bytes, because the programs of the initramfs have no other use for the characters of a text.
public func printable(_ text: [UInt8], keepingLines: Bool) -> [UInt8] {
    var printable: [UInt8] = []
    printable.reserveCapacity(text.count)
    var position = 0
    while position < text.count {
        let (number, length) = scalar(in: text, at: position)
        let bytes = text[position..<position + length]
        position += length
        if !isControl(number) {
            printable += bytes
        } else if length == 1, isSpace(bytes[bytes.startIndex]) {
            let isKept = keepingLines && (number == 0x09 || number == 0x0A)
            printable.append(isKept ? bytes[bytes.startIndex] : UInt8(ascii: " "))
        } else {
            printable += [UInt8(ascii: "\\"), UInt8(ascii: "u"), UInt8(ascii: "{")]
            for shift in stride(from: UInt32(12), through: 0, by: -4) where number >> shift > 0 || shift == 0 {
                let digit = UInt8(number >> shift & 0xF)
                printable.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            }
            printable.append(UInt8(ascii: "}"))
        }
    }
    return printable
}

/// The number and length of the character at `position`, if it has up to three bytes, as all control characters do; of other
/// characters the first byte.
private func scalar(in text: [UInt8], at position: Int) -> (number: UInt32, length: Int) {
    let first = text[position]
    func rest(_ index: Int) -> UInt32 { UInt32(text[position + index] & 0x3F) }
    if first >= 0xC2, first < 0xE0, position + 1 < text.count {
        return (UInt32(first & 0x1F) << 6 | rest(1), 2)
    }
    if first >= 0xE0, first < 0xF0, position + 2 < text.count {
        return (UInt32(first & 0xF) << 12 | rest(1) << 6 | rest(2), 3)
    }
    // A byte of a longer character is none by itself.
    return (first < 0x80 ? UInt32(first) : UInt32.max, 1)
}
