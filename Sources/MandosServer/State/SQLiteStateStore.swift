import FoundationEssentials
import GRDB
public import MandosCore
import POSIXKit
import Synchronization

/// The state in an SQLite database: every commit survives a crash of the server and of the machine.
public final class SQLiteStateStore: StateStore {
    /// In the state directory.
    public static let fileName = "clients.sqlite"

    /// What was found when the database was opened.
    public enum Origin: Sendable {
        case saved
        /// There is neither a database nor a mark of one.
        case new
    }

    public let origin: Origin

    private let directory: String
    private let path: String
    private let queue: DatabaseQueue
    private let lock: StateLock
    private let identity: FileIdentity

    private struct Marks {
        /// As in the database.
        var mark: StateMark
        var isWritten = true
        /// Whether the last commit failed; it may be in the database all the same.
        var hasFailed = false
    }
    private let marks: Mutex<Marks>

    /// Opens the database in `directory`, or creates it.
    ///
    /// A database that is damaged, of another program, or of a later version is left unchanged, and the server does not
    /// start: without the state it would enable every client that the state says is disabled. The same holds for one that
    /// is missing, empty or older although the mark beside it tells of another.
    public init(directory: String) throws(StateStoreError) {
        let path = directory + "/" + Self.fileName
        self.directory = directory
        self.path = path
        lock = try StateLock(directory: directory)
        let expected = try StateMark.read(in: directory)
        // Opening it would create it.
        if expected != nil && !FileManager.default.fileExists(atPath: path) { throw .lost(path) }
        do {
            let fileChanges = try expected.map { _ in try StateMark.fileChanges(of: path) } ?? 0
            queue = try DatabaseQueue(path: path, configuration: Self.readWrite)
            let before = try queue.read { try Schema.check($0, path) }
            try before.expect(expected, fileChanges: fileChanges, path)
            try queue.writeWithoutTransaction { try Self.useRollbackJournal($0, path) }
            var mark = try queue.write { database in
                let mark = try Schema.prepare(database)
                if let expected, expected.generation < mark.generation {
                    try Schema.settle(database, confirmed: expected.generation)
                }
                return mark
            }
            mark.fileChanges = try StateMark.fileChanges(of: path)
            try mark.write(in: directory)
            marks = Mutex(Marks(mark: mark))
            origin = if case .empty = before { .new } else { .saved }
            identity = try FileIdentity.look(at: path)
        } catch {
            throw StateStoreError(error, "opening", path)
        }
    }

    static var readWrite: GRDB.Configuration {
        var configuration = readOnly
        configuration.readonly = false
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        return configuration
    }

    /// Not a write-ahead log, which could be lost: the file alone is the state. See docs/decisions/0004.
    ///
    /// Only for a database that is checked: this may change it.
    static func useRollbackJournal(_ database: Database, _ path: String) throws {
        guard try String.fetchOne(database, sql: "PRAGMA journal_mode = TRUNCATE") == "truncate" else {
            throw StateStoreError.inUse(path)
        }
    }

    /// To read the database at `path`. If a server has crashed while it was saving, reading it undoes that change.
    static func reading(_ path: String) -> GRDB.Configuration {
        FileManager.default.fileExists(atPath: path + "-journal") ? readWrite : readOnly
    }

    private static var readOnly: GRDB.Configuration {
        var configuration = GRDB.Configuration()
        configuration.label = "mandos.state"
        configuration.readonly = true
        // The server may be writing, or a backup be reading.
        configuration.busyMode = .timeout(busyTimeout)
        return configuration
    }

    /// In seconds.
    private static let busyTimeout: TimeInterval = 20

    public func load() throws(StateStoreError) -> [ClientRecord] {
        do {
            return try queue.read(Schema.load)
        } catch {
            throw StateStoreError(error, "reading", path)
        }
    }

    public func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        do {
            try catchUp()
            try checkIdentity()
            let (mark, hasFailed) = marks.withLock { ($0.mark, $0.hasFailed) }
            marks.withLock { $0.hasFailed = true }
            try queue.write { database in
                try Schema.advanceMark(database, from: mark, mayBeCounted: hasFailed, path)
                try Schema.purge(database, confirmed: mark.generation)
                try Schema.save(records, in: mark.generation + 1, database)
                try Schema.remove(names, in: mark.generation + 1, database)
                // The last moment at which all of this is undone if it throws.
                try checkIdentity()
            }
            marks.withLock {
                $0.mark.generation += 1
                $0.isWritten = false
                $0.hasFailed = false
            }
        } catch {
            throw StateStoreError(error, "writing", path)
        }
        // If this fails, the state is saved all the same, but what it gives does not count: see ``confirm()``.
        try? catchUp()
        // What went into a file that nobody will read again is not saved.
        if let now = FileIdentity.of(path), now != identity { throw .replaced(path) }
    }

    public func confirm() throws(StateStoreError) {
        do {
            try catchUp()
        } catch {
            throw StateStoreError(error, "writing", path)
        }
    }

    /// Brings the mark beside the database up to date.
    private func catchUp() throws(SystemError) {
        var (mark, isWritten) = marks.withLock { ($0.mark, $0.isWritten) }
        if isWritten { return }
        mark.fileChanges = try StateMark.fileChanges(of: path)
        try mark.write(in: directory)
        marks.withLock { $0.isWritten = true }
    }

    /// Checks that the file that is open is the one that the next start will find.
    private func checkIdentity() throws(StateStoreError) {
        let found: FileIdentity
        do throws(SystemError) {
            found = try FileIdentity.look(at: path)
        } catch {
            throw error.isNoSuchFile ? .replaced(path) : StateStoreError("\(error)")
        }
        guard found == identity else { throw .replaced(path) }
        // Another server may have the other one.
        guard lock.isInPlace else { throw .replaced(directory + "/" + StateLock.fileName) }
    }

    /// Checks the database in `directory` without changing it, and whether it could be changed.
    ///
    /// - Returns: a summary for people.
    public static func examine(directory: String) throws(StateStoreError) -> String {
        let path = directory + "/" + fileName
        let lock: StateLock?
        do throws(StateStoreError) {
            lock = try StateLock(directory: directory)
        } catch {
            guard error.isInUse else { throw error }
            lock = nil
        }
        defer { withExtendedLifetime(lock) {} }
        let expected = try StateMark.read(in: directory)
        guard FileManager.default.fileExists(atPath: path) else {
            if expected != nil { throw .lost(path) }
            return "none yet in \(directory)"
        }
        do {
            let fileChanges = try StateMark.fileChanges(of: path)
            let count = try DatabaseQueue(path: path, configuration: reading(path)).read { database in
                let condition = try Schema.check(database, path)
                // A server that is running may be saving.
                if lock != nil { try condition.expect(expected, fileChanges: fileChanges, path) }
                if case .empty = condition { return 0 }
                return try Schema.count(database)
            }
            return "\(count) clients in \(path)" + (lock == nil ? ", in use by a server that is running" : "")
        } catch {
            throw StateStoreError(error, "reading", path)
        }
    }
}
