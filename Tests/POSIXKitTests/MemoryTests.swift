import Testing

@testable import POSIXKit

@Suite struct `A secret buffer` {
    @Test func `keeps as much as its limit, and reads the rest all the same`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        try pipe.writing.write([UInt8](repeating: 0x61, count: 20_000))
        let buffer = SecretBuffer(limit: 10_000)
        #expect(!buffer.drain(pipe.reading.number))
        #expect(buffer.count == 10_000 && buffer.isFull)
        #expect(!isReadable(pipe.reading.number))
    }

    @Test func `knows the end of what it reads`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        try pipe.writing.write(Array("password".utf8))
        let buffer = SecretBuffer(limit: 100)
        #expect(!buffer.drain(pipe.reading.number))
        let reading = pipe.keepReading()
        #expect(buffer.drain(reading.number))
        #expect(buffer.text == "password")
    }

    @Test(arguments: [("", ""), ("one", "one"), ("one\ntwo\n", "two"), ("one\n\n", "one")])
    func `has a last line`(text: String, line: String) {
        #expect(SecretBuffer(Array(text.utf8)).lastLine == line)
    }

    @Test func `of bytes that are wiped has zeroes`() {
        var bytes: [UInt8] = [1, 2, 3]
        wipe(&bytes)
        #expect(bytes == [0, 0, 0])
    }
}
