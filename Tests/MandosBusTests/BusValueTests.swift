import Testing

@testable import MandosBus

@Suite struct `Values on the bus` {
    static let values: [(BusValue, String)] = [
        (.boolean(true), "b"), (.int16(-1), "n"), (.uint16(1), "q"), (.int32(-1), "i"), (.uint32(1), "u"),
        (.int64(-1), "x"), (.uint64(1), "t"), (.double(0.5), "d"), (.string("text"), "s"), (.string(""), "s"),
        (.objectPath("/a"), "o"), (.bytes([1, 2, 3]), "ay"), (.bytes([]), "ay"), (.strings([]), "as"),
        (.strings(["a", "bc"]), "as"), (.array([.uint64(1)], of: "t"), "at"),
        (.structure([.objectPath("/a"), .array([.variant(.string("x"))], of: "v")]), "(oav)"),
        (.array([], of: "(oav)"), "a(oav)"), (.variant(.uint64(1)), "v"), (.properties([]), "a{sv}"),
        (.properties([("Name", .string("a")), ("Timeout", .uint64(5))]), "a{sv}"),
        (.dictionary([BusEntry(.string("a"), .uint64(1))], of: "st"), "a{st}"),
        (.dictionary([BusEntry(.objectPath("/a"), .properties([("b", .bytes([1]))]))], of: "oa{sv}"), "a{oa{sv}}"),
    ]

    @Test(arguments: values) func `have a signature`(value: BusValue, signature: String) {
        #expect(value.signature == signature)
    }

    @Test(arguments: values.map(\.0)) func `take no more bytes than their longest size`(value: BusValue) {
        for start in 0..<8 {
            var end = start
            marshal(value, at: &end)
            #expect(end - start <= value.longestSize, "at \(start)")
        }
    }

    /// Advances `position` over the value. Source: D-Bus specification, "Marshaling".
    private func marshal(_ value: BusValue, at position: inout Int) {
        func align(_ boundary: Int) { position = (position + boundary - 1) / boundary * boundary }
        func number(_ size: Int) {
            align(size)
            position += size
        }
        switch value {
        case .int16, .uint16: number(2)
        case .boolean, .int32, .uint32: number(4)
        case .int64, .uint64, .double: number(8)
        case .string(let text), .objectPath(let text):
            number(4)
            position += text.utf8.count + 1
        case .bytes(let bytes):
            number(4)
            position += bytes.count
        case .array(let elements, let signature):
            number(4)
            if "xtd({".contains(signature.prefix(1)) { align(8) }
            for element in elements { marshal(element, at: &position) }
        case .dictionary(let entries, _):
            number(4)
            align(8)
            for entry in entries { marshal(.structure([entry.key, entry.value]), at: &position) }
        case .structure(let fields):
            align(8)
            for field in fields { marshal(field, at: &position) }
        case .variant(let value):
            position += 1 + value.signature.utf8.count + 1
            marshal(value, at: &position)
        }
    }

    @Test func `are read through the variants around them`() {
        #expect(BusValue.variant(.variant(.string("a"))).text == "a")
        #expect(BusValue.variant(.objectPath("/a")).text == "/a")
        #expect(BusValue.variant(.boolean(true)).boolean == true)
        #expect(BusValue.variant(.uint32(7)).integer == 7)
        #expect(BusValue.variant(.strings(["a"])).elements == [.string("a")])
        #expect(BusValue.variant(.structure([.int16(1)])).elements == [.int16(1)])
        #expect(BusValue.variant(.variant(.double(1))).unwrapped == .double(1))
    }

    @Test func `are nothing else than they are`() {
        #expect(BusValue.int32(1).text == nil && BusValue.int32(1).boolean == nil && BusValue.int32(1).elements == nil)
        #expect(BusValue.boolean(true).integer == nil && BusValue.string("1").integer == nil)
        #expect(BusValue.uint64(.max).integer == nil, "it does not fit")
        #expect(BusValue.bytes([1]).elements == nil && BusValue.strings([]).byName == nil)
    }

    @Test func `have their entries by name`() {
        let values = BusValue.properties([("a", .int32(1)), ("b", .boolean(false))])
        #expect(values.byName == ["a": .variant(.int32(1)), "b": .variant(.boolean(false))])
    }
}

@Suite struct `Errors on the bus` {
    @Test(arguments: [
        (BusError.StandardName.accessDenied, "AccessDenied", false, false), (.failed, "Failed", false, false),
        (.invalidArguments, "InvalidArgs", false, false), (.limitsExceeded, "LimitsExceeded", false, false),
        (.nameHasNoOwner, "NameHasNoOwner", false, true), (.propertyReadOnly, "PropertyReadOnly", false, false),
        (.serviceUnknown, "ServiceUnknown", false, true), (.unknownInterface, "UnknownInterface", true, false),
        (.unknownMethod, "UnknownMethod", true, false), (.unknownObject, "UnknownObject", true, false),
        (.unknownProperty, "UnknownProperty", false, false),
    ])
    func `have the names of the specification`(
        name: BusError.StandardName, text: String, isUnknownMember: Bool, isNameWithoutOwner: Bool
    ) {
        let error = BusError(name, "because")
        #expect(error.name == "org.freedesktop.DBus.Error." + text)
        #expect(error.description == "because")
        #expect(error.isUnknownMember == isUnknownMember && error.isNameWithoutOwner == isNameWithoutOwner)
    }
}
