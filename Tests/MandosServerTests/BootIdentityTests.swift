import MandosCore
import Testing

@testable import MandosServer

@Suite struct `The ID of a boot` {
    private static let id = "0a3ef9ac-6f36-4f36-8a52-3bd0b0bc0e45"

    @Test func `is the kernel's`() {
        #expect(BootID(contents: Self.id + "\n") == BootID(Self.id))
        #expect(BootID.current.text.count == Self.id.count)
    }

    @Test(arguments: [nil, "", "\n", "nonsense\n", "0a3ef9ac-6f36-4f36-8a52\n"])
    func `that is unknown equals no other, nor what was saved under it`(contents: String?) {
        #expect(BootID(contents: contents) != BootID(contents: contents))
        #expect(BootID(contents: contents) != BootID(contents ?? ""))
    }
}
