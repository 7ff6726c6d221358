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
    /// SQLite's own count of changes of the file, at least. It stands at a fixed place, so that an older copy of the file is
    /// found out before SQLite brings parts of it up to date from a journal. Source: SQLite's file format, 1.3.7.
    var fileChanges: UInt32 = 0

    init(database: String, generation: Int64) {
        self.database = database
        self.generation = generation
    }

    /// A new database.
    static func new() -> StateMark { StateMark(database: UUID().uuidString, generation: 0) }

    /// Whether a database with this mark of its own is the one that we are about, and not an older copy.
    func isMet(by own: StateMark) -> Bool {
        own.database == database && own.generation >= generation && own.fileChanges >= fileChanges
    }

    /// SQLite's count of changes of the file at `path`; 0 for a file without a header.
    static func fileChanges(of path: String) throws(SystemError) -> UInt32 {
        let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        var header = [UInt8](repeating: 0, count: 28)
        guard try file.read(into: &header) == .bytes(header.count) else { return 0 }
        return header[24...].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Reads the mark in `directory`; nil if there is none, or one that nobody has written to.
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
        if contents.isEmpty { return nil }
        guard contents.count == length, words.count == 4, words[0] == signature, let generation = Int64(words[2]),
            let fileChanges = UInt32(words[3])
        else { throw .damagedMark(path) }
        var mark = StateMark(database: String(words[1]), generation: generation)
        mark.fileChanges = fileChanges
        return mark
    }

    /// Writes the mark in place, so that it takes no space that a full disk does not have; durable when it returns.
    func write(in directory: String) throws(SystemError) {
        let path = directory + "/" + Self.fileName
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
        var status = stat()
        let isNew = unsafe fstat(file.number, &status) == 0 && status.st_size == 0
        let numbers = "\(Self.padded(generation)) \(Self.padded(fileChanges))"
        try writeAll(Array("\(Self.signature) \(database) \(numbers)\n".utf8), to: file.number)
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
    /// In bytes: the signature, the name, the numbers, and what separates them.
    private static let length = signature.utf8.count + 1 + 36 + 2 * (1 + digits) + 1

    private static func padded(_ number: some BinaryInteger) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
