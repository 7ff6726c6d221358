import CSDBus

/// A message of sd-bus, for the thread of its connection only.
@safe final class BusMessage {
    let handle: OpaquePointer

    /// Takes ownership of one reference.
    init(owning handle: OpaquePointer) { unsafe self.handle = handle }

    /// Adds a reference.
    convenience init(sharing handle: OpaquePointer) {
        unsafe self.init(owning: sd_bus_message_ref(handle))
    }

    deinit { unsafe sd_bus_message_unref(handle) }

    var path: String { unsafe text(sd_bus_message_get_path(handle)) }
    var interface: String { unsafe text(sd_bus_message_get_interface(handle)) }
    var member: String { unsafe text(sd_bus_message_get_member(handle)) }
    var sender: String { unsafe text(sd_bus_message_get_sender(handle)) }

    private func text(_ characters: UnsafePointer<CChar>?) -> String {
        unsafe characters.map { unsafe String(cString: $0) } ?? ""
    }

    // MARK: Writing

    func append(_ values: [BusValue]) throws(BusError) {
        for value in values { try append(value) }
    }

    func append(_ value: BusValue) throws(BusError) {
        switch value {
        case .boolean(let value): try appendBasic("b", value ? Int32(1) : 0)
        case .int16(let value): try appendBasic("n", value)
        case .uint16(let value): try appendBasic("q", value)
        case .int32(let value): try appendBasic("i", value)
        case .uint32(let value): try appendBasic("u", value)
        case .int64(let value): try appendBasic("x", value)
        case .uint64(let value): try appendBasic("t", value)
        case .double(let value): try appendBasic("d", value)
        case .string(let text): try appendText("s", text)
        case .objectPath(let text): try appendText("o", text)
        case .bytes(let bytes):
            let result = unsafe bytes.withUnsafeBytes {
                unsafe sd_bus_message_append_array(handle, Self.type("y"), $0.baseAddress, $0.count)
            }
            try BusError.check("writing bytes", result)
        case .array(let elements, let signature):
            try inside("a", signature) { () throws(BusError) in try append(elements) }
        case .dictionary(let entries, let signature):
            try inside("a", "{" + signature + "}") { () throws(BusError) in
                for entry in entries {
                    try inside("e", signature) { () throws(BusError) in
                        try append(entry.key)
                        try append(entry.value)
                    }
                }
            }
        case .structure(let fields):
            try inside("r", fields.map(\.signature).joined()) { () throws(BusError) in try append(fields) }
        case .variant(let value):
            try inside("v", value.signature) { () throws(BusError) in try append(value) }
        }
    }

    private func appendBasic<Value: BitwiseCopyable>(_ type: Unicode.Scalar, _ value: Value) throws(BusError) {
        let result = unsafe withUnsafePointer(to: value) {
            unsafe sd_bus_message_append_basic(handle, Self.type(type), $0)
        }
        try BusError.check("writing a value", result)
    }

    private func appendText(_ type: Unicode.Scalar, _ text: String) throws(BusError) {
        // sd-bus reads up to the first NUL; D-Bus allows none in a text.
        let result = unsafe text.withCString { unsafe sd_bus_message_append_basic(handle, Self.type(type), $0) }
        try BusError.check("writing a text", result)
    }

    private func inside(
        _ type: Unicode.Scalar, _ signature: String, _ body: () throws(BusError) -> Void
    ) throws(BusError) {
        try unsafe BusError.check(
            "writing a value", sd_bus_message_open_container(handle, Self.type(type), signature))
        try body()
        try unsafe BusError.check("writing a value", sd_bus_message_close_container(handle))
    }

    private static func type(_ scalar: Unicode.Scalar) -> CChar { CChar(truncatingIfNeeded: scalar.value) }

    // MARK: Reading

    /// Reads the remaining values of the message, or of the current container.
    func read() throws(BusError) -> [BusValue] {
        var values: [BusValue] = []
        while let value = try readOne() { values.append(value) }
        return values
    }

    private func readOne() throws(BusError) -> BusValue? {
        var type: CChar = 0
        var contents: UnsafePointer<CChar>?
        guard try unsafe BusError.check("reading a message", sd_bus_message_peek_type(handle, &type, &contents)) > 0
        else { return nil }
        switch Unicode.Scalar(UInt8(bitPattern: type)) {
        case "b": return .boolean(try readBasic(type, Int32(0)) != 0)
        case "y": return .uint32(UInt32(try readBasic(type, UInt8(0))))
        case "n": return .int16(try readBasic(type, 0))
        case "q": return .uint16(try readBasic(type, 0))
        case "i": return .int32(try readBasic(type, 0))
        case "u": return .uint32(try readBasic(type, 0))
        case "x": return .int64(try readBasic(type, 0))
        case "t": return .uint64(try readBasic(type, 0))
        case "d": return .double(try readBasic(type, 0))
        case "s", "g": return .string(try readText(type))
        case "o": return .objectPath(try readText(type))
        case "v":
            let values = try unsafe entering(type, contents)
            return .variant(values.first ?? .string(""))
        case "a":
            let signature = unsafe text(contents)
            if signature == "y" { return .bytes(try readBytes()) }
            let values = try unsafe entering(type, contents)
            guard signature.hasPrefix("{") else { return .array(values, of: signature) }
            let entries = values.map { value in
                guard case .structure(let pair) = value, pair.count == 2 else { return BusEntry(.string(""), value) }
                return BusEntry(pair[0], pair[1])
            }
            return .dictionary(entries, of: String(signature.dropFirst().dropLast()))
        case "r", "e": return .structure(try unsafe entering(type, contents))
        default: throw BusError(.invalidArguments, "the message has a value of an unsupported type")
        }
    }

    private func entering(_ type: CChar, _ contents: UnsafePointer<CChar>?) throws(BusError) -> [BusValue] {
        try unsafe BusError.check("reading a message", sd_bus_message_enter_container(handle, type, contents))
        let values = try read()
        try unsafe BusError.check("reading a message", sd_bus_message_exit_container(handle))
        return values
    }

    private func readBasic<Value: BitwiseCopyable>(_ type: CChar, _ initial: Value) throws(BusError) -> Value {
        var value = initial
        let result = unsafe withUnsafeMutablePointer(to: &value) { unsafe sd_bus_message_read_basic(handle, type, $0) }
        try BusError.check("reading a message", result)
        return value
    }

    private func readText(_ type: CChar) throws(BusError) -> String {
        var characters: UnsafePointer<CChar>?
        let result = unsafe withUnsafeMutablePointer(to: &characters) {
            unsafe sd_bus_message_read_basic(handle, type, $0)
        }
        try BusError.check("reading a message", result)
        return unsafe text(characters)
    }

    private func readBytes() throws(BusError) -> [UInt8] {
        var memory: UnsafeRawPointer?
        var size = 0
        try unsafe BusError.check(
            "reading a message", sd_bus_message_read_array(handle, Self.type("y"), &memory, &size))
        return unsafe Array(UnsafeRawBufferPointer(start: memory, count: size))
    }
}
