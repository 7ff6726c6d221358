import Dispatch
import Glibc
import MandosCore
import NIOCore
import POSIXKit

/// Reads the configuration again and again, also after the server has given up the privilege to.
///
/// Root's privilege stays behind in a `PrivilegedTask`, which can do nothing but read the files that the configuration in
/// this directory consists of. It answers with their contents; whether they make sense is decided on our side.
/// See docs/PRIVILEGES.md.
public final class ConfigurationReader: Sendable {
    private let directory: String
    private let helper: Helper?
    /// One reload at a time.
    private let queue = DispatchQueue(label: "mandos.configuration")

    private final class Helper: Sendable {
        let process: PrivilegedTask
        /// Where it leaves the answers.
        let answers: POSIXKit.FileDescriptor

        init(_ process: consuming PrivilegedTask, answers: consuming POSIXKit.FileDescriptor) {
            self.process = process
            self.answers = answers
        }
    }

    /// Reading takes no longer than this, in seconds: a `secfile` may be on a network file system that is gone.
    private static let limit: UInt32 = 60

    /// Starts a helper process if we are root; for a process that still has one thread.
    public init(directory: String) throws {
        self.directory = directory
        guard geteuid() == 0 else {
            helper = nil
            return
        }
        let answers = try POSIXKit.FileDescriptor.inMemory("configuration")
        let number = answers.number
        let process = try PrivilegedTask.start(name: "mandos-config", keeping: number, limit: Self.limit) {
            Self.answerAll(directory: directory, into: number)
        }
        helper = Helper(process, answers: answers)
    }

    /// Reads it, all or nothing.
    ///
    /// - Throws: `ConfigProblems` for what is wrong with it, `SystemError` if it could not be read at all.
    public func read() async throws -> Configuration {
        try await abandonable {
            try await withCheckedThrowingContinuation { continuation in
                self.queue.async { continuation.resume(with: Result { try self.readAndWait() }) }
            }
        }
    }

    private func readAndWait() throws -> Configuration {
        guard let helper else { return try Configuration.load(directory: directory) }
        let file = helper.answers.number
        // Afterwards they are of no use any more, and take memory.
        defer { ftruncate(file, 0) }
        guard try helper.process.run() else {
            let action = "reading the configuration, for which there are \(Self.limit) seconds, memory and processes"
            throw SystemError(action, code: ECANCELED)
        }
        var files = AnsweredFiles(try Self.contents(of: file))
        return try Configuration.load(directory: directory, from: &files)
    }

    private static func contents(of file: Int32) throws -> ByteBuffer {
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else { throw SystemError("reading the answers") }
        let size = Int(status.st_size)
        var buffer = ByteBufferAllocator().buffer(capacity: size)
        var position = 0
        while position < size {
            let count = unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size - position) {
                unsafe max(0, pread(file, $0.baseAddress, $0.count, off_t(position)))
            }
            guard count > 0 else { throw SystemError("reading the answers", code: EIO) }
            position += count
        }
        return buffer
    }

    /// In the helper: asks everything there is to ask, and writes down what was answered.
    private static func answerAll(directory: String, into file: Int32) -> Bool {
        var files = RecordedFiles()
        // What is wrong with them is for the other side to find.
        _ = try? Configuration.load(directory: directory, from: &files)
        guard ftruncate(file, 0) == 0, lseek(file, 0, SEEK_SET) == 0 else { return false }
        return unsafe files.record.withUnsafeReadableBytes { bytes in
            (try? unsafe writeAll(bytes, to: file)) ?? false
        }
    }
}

/// The files on disk, and what they were asked.
private struct RecordedFiles: ConfigurationFiles {
    private(set) var record = ByteBuffer()

    mutating func answer(_ question: FileQuestion) -> FileAnswer {
        let answer = FilesOnDisk().answer(question)
        record.write(question)
        record.write(answer)
        return answer
    }
}

/// What was recorded, to be asked again.
private struct AnsweredFiles: ConfigurationFiles {
    private var answers: [FileQuestion: FileAnswer] = [:]

    init(_ record: ByteBuffer) {
        var rest = record
        while let question = rest.readFileQuestion(), let answer = rest.readFileAnswer() { answers[question] = answer }
    }

    func answer(_ question: FileQuestion) -> FileAnswer {
        answers[question] ?? .failure(SystemError("reading " + question.path, code: EIO))
    }
}

extension ByteBuffer {
    private enum Tag: UInt8 { case contents, names, failure }

    fileprivate mutating func write(_ question: FileQuestion) {
        writeInteger(question.kind.rawValue)
        write(question.path)
    }

    fileprivate mutating func readFileQuestion() -> FileQuestion? {
        guard let kind = readInteger(as: UInt8.self).flatMap(FileQuestion.Kind.init), let path = readText() else {
            return nil
        }
        return FileQuestion(kind: kind, path: path)
    }

    fileprivate mutating func write(_ answer: FileAnswer) {
        switch answer {
        case .contents(let bytes, let mode):
            writeInteger(Tag.contents.rawValue)
            writeInteger(mode)
            writeInteger(UInt64(bytes.count))
            writeBytes(bytes)
        case .names(let names):
            writeInteger(Tag.names.rawValue)
            writeInteger(UInt64(names.count))
            for name in names { write(name) }
        case .failure(let error):
            writeInteger(Tag.failure.rawValue)
            writeInteger(error.code)
            write(error.action)
        }
    }

    fileprivate mutating func readFileAnswer() -> FileAnswer? {
        switch readInteger(as: UInt8.self).flatMap(Tag.init) {
        case .contents:
            guard let mode = readInteger(as: UInt32.self), let bytes = readCounted() else { return nil }
            return .contents(bytes, mode: mode)
        case .names:
            guard let count = readInteger(as: UInt64.self) else { return nil }
            var names: [String] = []
            for _ in 0..<count {
                guard let name = readText() else { return nil }
                names.append(name)
            }
            return .names(names)
        case .failure:
            guard let code = readInteger(as: Int32.self), let action = readText() else { return nil }
            return .failure(SystemError(action, code: code))
        case nil: return nil
        }
    }

    private mutating func write(_ text: String) {
        writeInteger(UInt64(text.utf8.count))
        writeString(text)
    }

    private mutating func readText() -> String? { readCounted().map { String(decoding: $0, as: UTF8.self) } }

    private mutating func readCounted() -> [UInt8]? {
        readInteger(as: UInt64.self).flatMap { Int(exactly: $0) }.flatMap { readBytes(length: $0) }
    }
}
