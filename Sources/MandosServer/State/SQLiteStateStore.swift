import FoundationEssentials
import Glibc
import GRDB
public import MandosCore
import POSIXKit

/// The state in an SQLite database: every commit survives a crash of the server and of the machine.
public final class SQLiteStateStore: StateStore {
    /// In the state directory.
    public static let fileName = "clients.sqlite"

    private let path: String
    private let queue: DatabaseQueue
    private let lock: StateLock
    private let identity: FileIdentity

    /// Opens the database in `directory`, or creates it.
    ///
    /// A database that is damaged, of another program, or of a later version is left unchanged, and the server does not
    /// start: without the state it would enable every client that the state says is disabled.
    public init(directory: String) throws(StateStoreError) {
        let path = directory + "/" + Self.fileName
        self.path = path
        lock = try StateLock(directory: directory)
        do {
            var configuration = GRDB.Configuration()
            configuration.label = "mandos.state"
            configuration.prepareDatabase { database in
                // Two servers with one state would undo each other's changes.
                try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
                try database.execute(sql: "PRAGMA synchronous = FULL")
                try database.execute(sql: "PRAGMA journal_mode = WAL")
            }
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.write { try Schema.prepare($0, path) }
            guard let identity = FileIdentity.of(path) else { throw SystemError("looking at " + path) }
            self.identity = identity
        } catch {
            throw StateStoreError(error, "opening", path)
        }
    }

    public func load() throws(StateStoreError) -> [ClientRecord] {
        do {
            return try queue.read(Schema.load)
        } catch {
            throw StateStoreError(error, "reading", path)
        }
    }

    public func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        do {
            try queue.write { database in
                try Schema.save(records, database)
                try Schema.remove(names, database)
            }
        } catch {
            throw StateStoreError(error, "writing", path)
        }
        guard FileIdentity.of(path) == identity else {
            throw StateStoreError("\(path) was deleted or replaced while the server runs; restart it")
        }
    }

    /// Moves the database in `directory` aside, so that the next start begins without saved state.
    ///
    /// - Returns: its new path, or nil if there was no database.
    public static func putAside(directory: String) throws(StateStoreError) -> String? {
        let path = directory + "/" + fileName
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else { return nil }
        let lock = try StateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        do {
            var number = 1
            while manager.fileExists(atPath: "\(path).~\(number)~") { number += 1 }
            // The write-ahead log first, so that it never remains without its database.
            for suffix in ["-wal", "-shm", ""] where manager.fileExists(atPath: path + suffix) {
                try manager.moveItem(atPath: path + suffix, toPath: "\(path).~\(number)~\(suffix)")
            }
            return "\(path).~\(number)~"
        } catch {
            throw StateStoreError(error, "putting aside", path)
        }
    }

    /// Checks the database in `directory` without changing it, and whether it could be changed.
    ///
    /// - Returns: a summary for people.
    public static func examine(directory: String) throws(StateStoreError) -> String {
        guard unsafe access(directory, W_OK | X_OK) == 0 else {
            throw StateStoreError(SystemError("writing to the directory"), "using", directory)
        }
        let path = directory + "/" + fileName
        guard FileManager.default.fileExists(atPath: path) else { return "none yet in \(directory)" }
        do {
            var configuration = GRDB.Configuration()
            configuration.readonly = true
            let count = try DatabaseQueue(path: path, configuration: configuration).read { database in
                try Schema.check(database, path)
                return try Schema.count(database)
            }
            return "\(count) clients in \(path)"
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return "\(path) is in use by a server that is running"
        } catch {
            throw StateStoreError(error, "reading", path)
        }
    }
}

extension StateStoreError {
    static func inUse(_ path: String) -> Self {
        .init("\(path) is in use by another process; is there a server already?")
    }

    static func foreign(_ path: String) -> Self {
        .init("\(path) is a database of another program; choose another --statedir")
    }

    /// Explains an error of SQLite or the system.
    init(_ error: any Error, _ action: String, _ path: String) {
        switch error {
        case let error as StateStoreError: self = error
        case let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode):
            self.init(
                "\(path) is damaged: \(error.message ?? "no reason given"); restore it from a backup, or put it aside"
                    + " with --no-restore, which enables every client that clients.conf does not disable")
        case let error as DatabaseError where error.resultCode == .SQLITE_BUSY: self = .inUse(path)
        case is DecodingError: self.init("\(path) is damaged: it has overrides that cannot be read")
        case let error as DatabaseError: self.init("\(action) \(path): \(error.message ?? "\(error.resultCode)")")
        default: self.init("\(action) \(path): \(error)")
        }
    }
}
