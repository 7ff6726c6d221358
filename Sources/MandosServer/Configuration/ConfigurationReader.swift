@unsafe @preconcurrency import Dispatch  // its sources may be used from any thread
import FoundationEssentials
import Glibc
public import MandosCore
import NIOCore
public import POSIXKit
import Synchronization

/// Reads the configuration at each reload, also after the server has given up root's privileges.
///
/// A process of its own, a `PrivilegedTask`, reads the files of the configuration in this directory, and answers with their
/// contents; the server parses them. If root starts it, it keeps the right to read all files, and nothing else of root's: see
/// docs/PRIVILEGES.md. Each reading is a child of it, which ends after a while even if a file system hangs.
public final class ConfigurationReader: Sendable {
    private let directory: String
    private let privileged: PrivilegedReader
    /// Serializes reloads.
    private let queue = DispatchQueue(label: "mandos.configuration")

    private final class PrivilegedReader: Sendable {
        let task: PrivilegedTask
        /// A file in memory that the task writes its answers to.
        let answers: POSIXKit.FileDescriptor
        let isLost = Mutex(false)

        init(_ task: consuming PrivilegedTask, answers: consuming POSIXKit.FileDescriptor) {
            self.task = task
            self.answers = answers
        }
    }

    /// In seconds: a `secfile` may be on a network file system that no longer answers.
    private static let timeLimit: UInt32 = 60

    public enum Failure: Error {
        case invalid(ConfigProblems)
        case unreadable(SystemError)
        /// The privileged task has ended, or does not answer: only a restart, which begins as root, brings it back.
        case taskIsLost
        /// The server is stopping.
        case cancelled
    }

    /// Starts the task; for a process that still has one thread.
    public init(directory: String) throws(SystemError) {
        self.directory = directory
        let answers = try POSIXKit.FileDescriptor.inMemory("configuration")
        let number = answers.number
        let reader = Account.reader
        let authority =
            geteuid() == 0 ? PrivilegedHelper.Authority.reading(user: reader.user, group: reader.group) : .unchanged
        // "~" is root's home directory, as at the start, although the task has another user.
        let home = FileManager.default.homeDirectoryForCurrentUser.path(percentEncoded: false)
        let task = try PrivilegedTask.start(
            name: "mandos-config", keeping: number, authority: authority, limit: Self.timeLimit
        ) {
            if ProcessEnvironment.value(of: "HOME") == nil { setEnvironment("HOME", to: home) }
            return Self.answerAll(directory: directory, into: number)
        }
        privileged = PrivilegedReader(task, answers: answers)
    }

    /// Whether no configuration can be read until the server is restarted.
    public var isTaskLost: Bool { privileged.isLost.withLock { $0 } }

    /// Waits until the privileged task ends or the task that calls is cancelled.
    func waitForTaskLoss() async {
        let privileged = privileged
        let source = DispatchSource.makeReadSource(fileDescriptor: privileged.task.descriptor)
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                source.setEventHandler {
                    privileged.isLost.withLock { $0 = true }
                    source.cancel()
                }
                source.setCancelHandler { continuation.resume() }
                source.activate()
            }
        } onCancel: {
            source.cancel()
        }
    }

    /// Reads the whole configuration, or fails.
    public func read() async -> Result<Configuration, Failure> {
        let result = try? await abandonable {
            await withCheckedContinuation { continuation in
                self.queue.async { continuation.resume(returning: self.readAndWait()) }
            }
        }
        return result ?? .failure(.cancelled)
    }

    private func readAndWait() -> Result<Configuration, Failure> {
        Result { () throws(Failure) in try privilegedAnswers() }.flatMap { answers in
            Result { () throws(ConfigProblems) in
                guard answers.readableBytes > 0 else { throw Configuration.changing(directory) }
                var files = AnsweredFiles(answers)
                return try Configuration.load(directory: directory, from: &files)
            }.mapError(Failure.invalid)
        }
    }

    private func privilegedAnswers() throws(Failure) -> ByteBuffer {
        // A late answer to an earlier request would be taken for the next one's.
        if isTaskLost { throw .taskIsLost }
        let file = privileged.answers.number
        // Frees the memory.
        defer { ftruncate(file, 0) }
        guard let isDone = try? privileged.task.run() else {
            privileged.isLost.withLock { $0 = true }
            throw .taskIsLost
        }
        do throws(SystemError) {
            if isDone { return try Self.contents(of: file) }
            let action = "reading the configuration: over \(Self.timeLimit) seconds, or out of memory or processes"
            throw SystemError(action, code: ECANCELED)
        } catch {
            throw .unreadable(error)
        }
    }

    private static func contents(of file: Int32) throws(SystemError) -> ByteBuffer {
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

    /// In the privileged task: loads the configuration and records the contents of all its files; nothing if they change
    /// all the time.
    private static func answerAll(directory: String, into file: Int32) -> Bool {
        guard ftruncate(file, 0) == 0, lseek(file, 0, SEEK_SET) == 0 else { return false }
        for _ in 0..<Configuration.maximumReads {
            var files = RecordedFiles()
            // The server reports the problems in them.
            _ = try? Configuration.load(directory: directory, from: &files)
            if files.onDisk.haveChanged { continue }
            return unsafe files.record.withUnsafeReadableBytes { bytes in
                (try? unsafe writeAll(bytes, to: file)) ?? false
            }
        }
        return true
    }
}

/// The files on disk; records every question and its answer.
private struct RecordedFiles: ConfigurationFiles {
    private(set) var record = ByteBuffer()
    private(set) var onDisk = FilesOnDisk()

    mutating func answer(_ question: FileQuestion) -> FileAnswer {
        let answer = onDisk.answer(question)
        record.write(question)
        record.write(answer)
        return answer
    }
}

/// The answers recorded by ``RecordedFiles``.
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
    private enum Tag: UInt8 { case contents, names, failure, notRegular }

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
        case .notRegular: writeInteger(Tag.notRegular.rawValue)
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
        case .notRegular: return .notRegular
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
