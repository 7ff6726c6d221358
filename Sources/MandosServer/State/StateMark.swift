import FoundationEssentials
import Glibc
import POSIXKit

/// What is known beside the database about the state: which database holds it, and how often that was changed.
///
/// It tells a first start from one whose database was lost, emptied, or replaced by an older copy: then every client that
/// was disabled since would be enabled again.
struct StateMark: Equatable, Sendable {
    /// In the state directory.
    static let fileName = "clients.mark"

    /// A random name of the database.
    let database: String
    /// The number of changes that were saved, at least.
    var generation: Int64

    init(database: String, generation: Int64) {
        self.database = database
        self.generation = generation
    }

    /// A new database.
    static func new() -> StateMark { StateMark(database: UUID().uuidString, generation: 0) }

    /// Reads the mark in `directory`; nil if there is none.
    ///
    /// - Throws: also if it is damaged.
    static func read(in directory: String) throws(StateStoreError) -> StateMark? {
        let path = directory + "/" + fileName
        let contents: [UInt8]
        do throws(SystemError) {
            contents = try readRegularFile(path, limit: length)
        } catch {
            if error.isNoSuchFile { return nil }
            throw StateStoreError("\(error)")
        }
        let words = String(decoding: contents, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard contents.count == length, words.count == 3, words[0] == signature, let generation = Int64(words[2])
        else { throw .damagedMark(path) }
        return StateMark(database: String(words[1]), generation: generation)
    }

    /// Writes the mark in place, so that it takes no space that a full disk does not have; durable when it returns.
    func write(in directory: String) throws(SystemError) {
        let path = directory + "/" + Self.fileName
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
        var status = stat()
        let isNew = unsafe fstat(file.number, &status) == 0 && status.st_size == 0
        let number = String(generation)
        let padding = String(repeating: "0", count: max(0, Self.digits - number.count))
        try writeAll(Array("\(Self.signature) \(database) \(padding)\(number)\n".utf8), to: file.number)
        try SystemError.check("writing \(path)", fdatasync(file.number))
        if isNew { try Self.sync(directory) }
    }

    /// Makes durable which files are in the directory.
    static func sync(_ directory: String) throws(SystemError) {
        let descriptor = try FileDescriptor.directory(directory)
        try SystemError.check("writing \(directory)", fsync(descriptor.number))
    }

    private static let signature = "mandos-state"
    /// Enough for the largest number.
    private static let digits = 19
    /// In bytes: the signature, the name, the number, and what separates them.
    private static let length = signature.utf8.count + 1 + 36 + 1 + digits + 1
}
