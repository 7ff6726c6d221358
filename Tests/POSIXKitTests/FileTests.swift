import Glibc
import MandosFormats
import Testing

@testable import POSIXKit

@Suite struct `A PID file` {
    @Test func `has our number, and is removed`() throws {
        let directory = try temporaryDirectory()
        let path = directory.path + "/pid"
        let file = try PIDFile.lock(path)
        try file.write()
        #expect(try readFile(path, limit: 100) == Array("\(getpid())\n".utf8))
        file.remove()
        #expect(namesOfFiles(in: directory.path) == [])
    }

    @Test func `belongs to one process at a time`() throws {
        let directory = try temporaryDirectory()
        let path = directory.path + "/pid"
        let first = try PIDFile.lock(path)
        let error = #expect(throws: SystemError.self) { _ = try PIDFile.lock(path) }
        #expect(error?.isHeldByAnother == true)
        first.remove()
        let second = try PIDFile.lock(path)
        second.remove()
    }

    @Test func `is empty when its owner is gone, and may be taken over`() throws {
        let directory = try temporaryDirectory()
        let path = directory.path + "/pid"
        do {
            let file = try PIDFile.lock(path)
            try file.write()
        }
        #expect(try readFile(path, limit: 100) == [])
        let file = try PIDFile.lock(path)
        try file.write()
        #expect(try readFile(path, limit: 100) == Array("\(getpid())\n".utf8))
    }

    @Test func `is never written through a symbolic link`() throws {
        let directory = try temporaryDirectory()
        try writeNewFile(directory.path + "/target", [])
        #expect(unsafe symlink("target", directory.path + "/pid") == 0)
        let error = #expect(throws: SystemError.self) { _ = try PIDFile.lock(directory.path + "/pid") }
        #expect(error?.code == ELOOP)
    }
}

@Suite struct `A directory watch` {
    @Test func `tells of files that come and go, in order`() throws {
        let directory = try temporaryDirectory()
        let watch = try DirectoryWatch.begin(directory.path)
        #expect(watch.changes() == [])
        try writeNewFile(directory.path + "/a", [1])
        #expect(unsafe rename(directory.path + "/a", directory.path + "/b") == 0)
        #expect(unsafe unlink(directory.path + "/b") == 0)
        #expect(isReadable(watch.descriptor))
        #expect(watch.changes() == [.written("a"), .gone("a"), .written("b"), .gone("b")])
        #expect(watch.changes() == [])
    }

    @Test func `tells of openings if that is asked for`() throws {
        let directory = try temporaryDirectory()
        try writeNewFile(directory.path + "/a", [1])
        let watch = try DirectoryWatch.begin(directory.path, for: .openings)
        _ = try readFile(directory.path + "/a", limit: 10)
        #expect(watch.changes() == [.opened("a")])
    }

    @Test func `needs a directory`() throws {
        let directory = try temporaryDirectory()
        let error = #expect(throws: SystemError.self) { _ = try DirectoryWatch.begin(directory.path + "/none") }
        #expect(error?.isNoSuchFile == true)
    }
}

@Suite struct `Reading a file` {
    @Test func `has a limit`() throws {
        let directory = try temporaryDirectory()
        let path = directory.path + "/file"
        try writeNewFile(path, [1, 2, 3])
        #expect(try readFile(path, limit: 3) == [1, 2, 3])
        #expect(throws: SystemError.self) { _ = try readFile(path, limit: 2) }
    }

    @Test func `does not wait at what is no file`() throws {
        let directory = try temporaryDirectory()
        #expect(unsafe mkfifo(directory.path + "/fifo", 0o600) == 0)
        let error = #expect(throws: SystemError.self) {
            _ = try readRegularFile(directory.path + "/fifo", limit: 10)
        }
        #expect(error?.code == EINVAL)
    }

    @Test func `never overwrites another one`() throws {
        let directory = try temporaryDirectory()
        try writeNewFile(directory.path + "/a", [])
        let error = #expect(throws: SystemError.self) { try writeNewFile(directory.path + "/a", [1]) }
        #expect(error?.code == EEXIST)
    }
}

@Suite struct `Non-blocking output` {
    private func take(_ pipe: borrowing Pipe) -> [UInt8] {
        let buffer = SecretBuffer(limit: 1 << 22)
        _ = buffer.drain(pipe.reading.number)
        return Array(buffer.text.utf8)
    }

    @Test func `is written at once if there is room`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        var output = NonBlockingOutput(on: pipe.writing.number)
        output.say(Array("hello".utf8))
        output.finish()
        #expect(take(pipe) == Array("hello".utf8))
    }

    @Test func `is kept while there is none, and comes in order`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        var output = NonBlockingOutput(on: pipe.writing.number)
        let text = (0..<200_000).map { UInt8(0x20 + $0 % 64) }
        output.say(text)
        var taken: [UInt8] = []
        while taken.count < text.count {
            output.finish()
            let more = take(pipe)
            try #require(!more.isEmpty)
            taken += more
        }
        #expect(taken == text)
    }

    @Test func `that is too much is lost as a whole`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        var output = NonBlockingOutput(on: pipe.writing.number)
        output.say([UInt8](repeating: 0x61, count: (1 << 20) + 1))
        output.say(Array("rest".utf8))
        output.finish()
        #expect(take(pipe) == Array("rest".utf8))
    }

    @Test func `may be forgotten`() throws {
        let pipe = try Pipe.make(nonBlocking: .reading)
        var output = NonBlockingOutput(on: pipe.writing.number)
        output.say(Array("prompt".utf8))
        output.forget()
        output.finish()
        #expect(take(pipe) == [])
    }
}
