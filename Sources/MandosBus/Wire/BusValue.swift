/// A value as D-Bus sends it. Source: D-Bus specification, "Type System".
public indirect enum BusValue: Equatable, Sendable {
    case boolean(Bool)
    case int16(Int16)
    case uint16(UInt16)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case uint64(UInt64)
    case double(Double)
    case string(String)
    case objectPath(String)
    case bytes([UInt8])
    /// `of` is the signature of each element.
    case array([BusValue], of: String)
    /// `of` is the signature of each entry, without the braces.
    case dictionary([BusEntry], of: String)
    case structure([BusValue])
    case variant(BusValue)

    public var signature: String {
        switch self {
        case .boolean: "b"
        case .int16: "n"
        case .uint16: "q"
        case .int32: "i"
        case .uint32: "u"
        case .int64: "x"
        case .uint64: "t"
        case .double: "d"
        case .string: "s"
        case .objectPath: "o"
        case .bytes: "ay"
        case .array(_, let element): "a" + element
        case .dictionary(_, let entry): "a{" + entry + "}"
        case .structure(let fields): "(" + fields.map(\.signature).joined() + ")"
        case .variant: "v"
        }
    }

    /// From names to values of any type: `a{sv}`.
    public static func properties(_ values: [(String, BusValue)]) -> BusValue {
        .dictionary(values.map { BusEntry(.string($0.0), .variant($0.1)) }, of: "sv")
    }

    public static func strings(_ texts: [String]) -> BusValue { .array(texts.map(BusValue.string), of: "s") }
}

/// One entry of a dictionary.
public struct BusEntry: Equatable, Sendable {
    public let key: BusValue
    public let value: BusValue

    public init(_ key: BusValue, _ value: BusValue) {
        self.key = key
        self.value = value
    }
}

extension BusValue {
    /// How many bytes it takes in a message, at the most. Source: D-Bus specification, "Marshaling".
    public var longestSize: Int {
        let padding = 7
        return switch self {
        case .boolean, .int32, .uint32: 4 + 3
        case .int16, .uint16: 2 + 1
        case .int64, .uint64, .double: 8 + padding
        case .string(let text), .objectPath(let text): 4 + 3 + text.utf8.count + 1
        case .bytes(let bytes): 4 + 3 + bytes.count
        case .array(let elements, _): elements.reduce(4 + 3 + padding) { $0 + $1.longestSize }
        case .dictionary(let entries, _):
            entries.reduce(4 + 3 + padding) { $0 + padding + $1.key.longestSize + $1.value.longestSize }
        case .structure(let fields): fields.reduce(padding) { $0 + $1.longestSize }
        case .variant(let value): 2 + value.signature.utf8.count + value.longestSize
        }
    }

    /// The text of a string or an object path.
    public var text: String? {
        switch self {
        case .string(let text), .objectPath(let text): text
        case .variant(let value): value.text
        default: nil
        }
    }

    public var boolean: Bool? {
        switch self {
        case .boolean(let value): value
        case .variant(let value): value.boolean
        default: nil
        }
    }

    /// A number of any type that fits.
    public var integer: Int64? {
        switch self {
        case .int16(let value): Int64(value)
        case .uint16(let value): Int64(value)
        case .int32(let value): Int64(value)
        case .uint32(let value): Int64(value)
        case .int64(let value): value
        case .uint64(let value): Int64(exactly: value)
        case .variant(let value): value.integer
        default: nil
        }
    }

    /// What is in it, if it is an array, a structure or a variant of one.
    public var elements: [BusValue]? {
        switch self {
        case .array(let elements, _), .structure(let elements): elements
        case .variant(let value): value.elements
        default: nil
        }
    }

    /// From texts to values, if it is a dictionary with such keys.
    public var byName: [String: BusValue]? {
        guard case .dictionary(let entries, _) = self else { return nil }
        return Dictionary(entries.compactMap { entry in entry.key.text.map { ($0, entry.value) } }) { $1 }
    }

    /// Without the variant around it.
    public var unwrapped: BusValue { if case .variant(let value) = self { value.unwrapped } else { self } }
}
