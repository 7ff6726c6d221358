/// A D-Bus value. Source: D-Bus specification, "Type System".
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

    /// A dictionary from names to values of any type: `a{sv}`.
    public static func properties(_ values: [(String, BusValue)]) -> BusValue {
        .dictionary(values.map { BusEntry(.string($0.0), .variant($0.1)) }, of: "sv")
    }

    public static func strings(_ texts: [String]) -> BusValue { .array(texts.map(BusValue.string), of: "s") }
}

/// An entry of a dictionary.
public struct BusEntry: Equatable, Sendable {
    public let key: BusValue
    public let value: BusValue

    public init(_ key: BusValue, _ value: BusValue) {
        self.key = key
        self.value = value
    }
}

extension BusValue {
    /// An upper limit of the bytes that the value takes in a message. Source: D-Bus specification, "Marshaling".
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
        if case .string(let text) = unwrapped { return text }
        if case .objectPath(let path) = unwrapped { return path }
        return nil
    }

    public var boolean: Bool? { if case .boolean(let value) = unwrapped { value } else { nil } }

    /// An integer of any type, if it fits.
    public var integer: Int64? {
        switch self {
        case .int16(let value): Int64(value)
        case .uint16(let value): Int64(value)
        case .int32(let value): Int64(value)
        case .uint32(let value): Int64(value)
        case .int64(let value): value
        case .uint64(let value): Int64(exactly: value)
        case .variant(let value): value.integer
        case .boolean, .double, .string, .objectPath, .bytes, .array, .dictionary, .structure: nil
        }
    }

    /// The elements of an array, or the fields of a structure.
    public var elements: [BusValue]? {
        if case .array(let elements, _) = unwrapped { return elements }
        if case .structure(let fields) = unwrapped { return fields }
        return nil
    }

    /// The entries of a dictionary whose keys are texts.
    public var byName: [String: BusValue]? {
        guard case .dictionary(let entries, _) = self else { return nil }
        return Dictionary(entries.compactMap { entry in entry.key.text.map { ($0, entry.value) } }) { $1 }
    }

    /// The value without the variants around it.
    public var unwrapped: BusValue { if case .variant(let value) = self { value.unwrapped } else { self } }
}
