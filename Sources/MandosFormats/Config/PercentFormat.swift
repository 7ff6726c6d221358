/// Text that contains `%(name)s` and `%%`, as in start-time and run-time expansion.
public enum PercentFormat {
    public enum Piece: Equatable, Sendable {
        case text(String)
        /// The name in `%(name)s`, in lower case.
        case reference(String)
    }

    public struct SyntaxError: Error, Equatable, CustomStringConvertible {
        public let description = "\"%\" must be followed by \"%\" or \"(name)s\"; write %% for a percent sign"
    }

    public static func pieces(of text: String) throws(SyntaxError) -> [Piece] {
        var pieces: [Piece] = []
        var literal = Substring()
        var rest = text.utf8[...]
        func flush() {
            if !literal.isEmpty { pieces.append(.text(String(literal))) }
            literal = Substring()
        }
        while let percent = rest.firstIndex(of: UInt8(ascii: "%")) {
            literal += Substring(rest[..<percent])
            rest = rest[percent...].dropFirst()
            switch rest.first {
            case UInt8(ascii: "%"):
                literal += "%"
                rest = rest.dropFirst()
            case UInt8(ascii: "("):
                let name = rest.dropFirst().prefix { $0 != UInt8(ascii: ")") }
                rest = rest[name.endIndex...].dropFirst()
                guard !name.isEmpty, rest.first == UInt8(ascii: "s") else { throw SyntaxError() }
                rest = rest.dropFirst()
                flush()
                pieces.append(.reference(Substring(name).lowercased()))
            default: throw SyntaxError()
            }
        }
        literal += Substring(rest)
        flush()
        return pieces
    }
}
