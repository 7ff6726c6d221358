import FoundationEssentials
import GRDB
import Glibc
public import POSIXKit

/// Copies of the saved state, and what becomes of it when another one takes its place.
///
/// Source: mandos(8) `--no-restore`; backups are ours.
extension SQLiteStateStore {
    /// Writes the state of `directory` to `file`, as it is at one moment; a server may use it meanwhile.
    ///
    /// - Returns: the size in bytes.
    public static func backUp(
        directory: String, to file: borrowing POSIXKit.FileDescriptor
    ) throws(StateStoreError) -> Int {
        let path = directory + "/" + fileName
        do {
            // Opening it would create it.
            _ = try FileIdentity.look(at: path)
            let queue = try DatabaseQueue(path: path, configuration: readWrite)
            try queue.writeWithoutTransaction { database in
                if case .empty = try Schema.check(database, path) {
                    throw StateStoreError("\(path) is empty: nothing was saved yet")
                }
                // Of an earlier version: what is in its log belongs to the state.
                if try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal" {
                    try useRollbackJournal(database, path)
                }
            }
            var contents: [UInt8]?
            for attempt in 0..<attempts where contents == nil {
                if attempt > 0 { usleep(pause) }
                contents = try queue.read { database in
                    // From here on, nobody writes to the file.
                    _ = try Schema.count(database)
                    // A commit that is under way, or has failed, is not to be taken for complete.
                    let (own, confirmed) = (try Schema.mark(database), try StateMark.read(in: directory))
                    if let own, let confirmed, own.generation > confirmed.generation { return nil }
                    return try readRegularFile(path, limit: largestFile)
                }
            }
            guard let contents else {
                throw StateStoreError(
                    "the last change of \(path) is not known to be complete; try again when the disk is well")
            }
            try writeAll(contents, to: file.number)
            return contents.count
        } catch {
            throw StateStoreError(error, "copying", path)
        }
    }

    /// How often, and after how many microseconds, a copy is tried again while the server is saving.
    private static let attempts = 20
    private static let pause: UInt32 = 50_000

    /// Puts the database with these `contents` into `directory`, and the one that was there aside.
    ///
    /// - Returns: the new path of the one that was there; nil if there was none.
    public static func restore(_ contents: [UInt8], directory: String) throws(StateStoreError) -> String? {
        let path = directory + "/" + fileName
        let new = path + ".new"
        let lock = try StateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        do {
            removeFiles(new)
            try writeNewFile(new, contents)
            var mark = try DatabaseQueue(path: new, configuration: readWrite).writeWithoutTransaction { database in
                if case .empty = try Schema.check(database, new) { throw StateStoreError("the file is empty") }
                try useRollbackJournal(database, new)
                guard try Schema.mark(database) != nil else { return nil as StateMark? }
                try Schema.rename(database)
                return try Schema.mark(database)
            }
            mark?.fileChanges = try StateMark.fileChanges(of: new)
            let file = try FileDescriptor.open(new, O_RDONLY)
            try SystemError.check("writing \(new)", fsync(file.number))
            let old = try moveAside(path)
            // Whatever happens between these steps, a server that starts finds that the state is not the one expected.
            try mark?.write(in: directory)
            try FileManager.default.moveItem(atPath: new, toPath: path)
            // Of an earlier version, which had no mark.
            if mark == nil { try removeMark(directory) }
            try StateMark.sync(directory)
            removeFiles(new + "-journal")
            return old
        } catch {
            removeFiles(new)
            throw StateStoreError(error, "restoring", path)
        }
    }

    /// Removes a database and its journal.
    private static func removeFiles(_ path: String) {
        for suffix in ["", "-journal"] { unsafe unlink(path + suffix) }
    }

    /// Moves the database in `directory` aside, so that the next start begins without saved state.
    ///
    /// - Returns: its new path, or nil if there was no database.
    public static func putAside(directory: String) throws(StateStoreError) -> String? {
        let path = directory + "/" + fileName
        let lock = try StateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        do {
            let old = try moveAside(path)
            try removeMark(directory)
            return old
        } catch {
            throw StateStoreError(error, "putting aside", path)
        }
    }

    private static func moveAside(_ path: String) throws -> String? {
        let manager = FileManager.default
        let isThere = manager.fileExists(atPath: path)
        var number = 1
        while manager.fileExists(atPath: "\(path).~\(number)~") { number += 1 }
        // The database first: without its journal, it might be taken for complete.
        for suffix in ["", "-journal", "-wal", "-shm"] where manager.fileExists(atPath: path + suffix) {
            try manager.moveItem(atPath: path + suffix, toPath: "\(path).~\(number)~\(suffix)")
        }
        return isThere ? "\(path).~\(number)~" : nil
    }

    private static func removeMark(_ directory: String) throws {
        let mark = directory + "/" + StateMark.fileName
        if FileManager.default.fileExists(atPath: mark) { try FileManager.default.removeItem(atPath: mark) }
    }

    /// In bytes; with 100,000 clients it has some 40 MB.
    public static let largestFile = 2 << 30
}
