import FoundationEssentials
import Glibc
import GRDB
public import MandosCore
import MandosFormats
import POSIXKit

/// The state in an SQLite database: every commit survives a crash of the server and of the machine.
public final class SQLiteStateStore: StateStore {
    /// In the state directory.
    public static let fileName = "clients.sqlite"

    /// "Mnds": tells our database from any other.
    private static let applicationID: Int32 = 0x4D6E_6473
    private static let schemaVersion = 2

    private let path: String
    private let queue: DatabaseQueue
    private let lock: Lock
    /// Which file it is.
    private let identity: FileIdentity

    private struct FileIdentity: Equatable {
        private let device: UInt64
        private let inode: UInt64

        init?(_ path: String) {
            var status = stat()
            guard unsafe stat(path, &status) == 0 else { return nil }
            (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
        }
    }

    /// Keeps other servers away from a state directory. SQLite's own lock would not, when the database is put aside.
    private final class Lock: Sendable {
        private let file: FileDescriptor

        init(_ directory: String) throws {
            let path = directory + "/lock"
            file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
            guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
                throw StateStoreError("\(directory) is in use by another process; is there a server already?")
            }
        }

        /// To close the file is not enough: a child that has not yet come as far as its own program holds it too.
        deinit { flock(file.number, LOCK_UN) }
    }

    /// Opens the database in `directory`, or makes it.
    ///
    /// One that is damaged, foreign, or of a later version is left as it is: to go on without it would enable every
    /// client that it says is disabled.
    public init(directory: String) throws(StateStoreError) {
        let path = directory + "/" + Self.fileName
        self.path = path
        do {
            lock = try Lock(directory)
            var configuration = GRDB.Configuration()
            configuration.label = "mandos.state"
            configuration.prepareDatabase { database in
                // Two servers with one state would undo what the other has disabled.
                try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
                try database.execute(sql: "PRAGMA synchronous = FULL")
                try database.execute(sql: "PRAGMA journal_mode = WAL")
            }
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.write { try Self.prepare($0, path) }
            guard let identity = FileIdentity(path) else { throw SystemError("looking at " + path) }
            self.identity = identity
        } catch {
            throw Self.explain(error, "opening", path)
        }
    }

    /// Puts the database in `directory` aside, so that the next start begins without any state.
    ///
    /// - Returns: where it is now, or nil if there was none.
    public static func putAside(directory: String) throws(StateStoreError) -> String? {
        let path = directory + "/" + fileName
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else { return nil }
        do {
            let lock = try Lock(directory)
            defer { withExtendedLifetime(lock) {} }
            var number = 1
            while manager.fileExists(atPath: "\(path).~\(number)~") { number += 1 }
            // What was written last goes first, so that it never stays behind.
            for suffix in ["-wal", "-shm", ""] where manager.fileExists(atPath: path + suffix) {
                try manager.moveItem(atPath: path + suffix, toPath: "\(path).~\(number)~\(suffix)")
            }
            return "\(path).~\(number)~"
        } catch {
            throw explain(error, "putting aside", path)
        }
    }

    /// Looks at the database in `directory` without changing it, and whether it could be changed.
    ///
    /// - Returns: what there is, for people to read.
    public static func examine(directory: String) throws(StateStoreError) -> String {
        guard unsafe access(directory, W_OK | X_OK) == 0 else {
            throw explain(SystemError("writing to the directory"), "using", directory)
        }
        let path = directory + "/" + fileName
        guard FileManager.default.fileExists(atPath: path) else { return "none yet in \(directory)" }
        do {
            var configuration = GRDB.Configuration()
            configuration.readonly = true
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let count = try queue.read { database in
                try check(database, path)
                return try Int.fetchOne(database, sql: "SELECT count(*) FROM client") ?? 0
            }
            return "\(count) clients in \(path)"
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return "\(path) is in use by a server that runs"
        } catch {
            throw explain(error, "reading", path)
        }
    }

    private static func prepare(_ database: Database, _ path: String) throws {
        let application = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        let isEmpty = try !database.tableExists("client") && version == 0 && application == 0
        if isEmpty {
            guard try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0 else {
                throw StateStoreError("\(path) is a database of another program; choose another --statedir")
            }
            try database.execute(sql: "PRAGMA application_id = \(applicationID)")
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
            try database.execute(sql: schema)
            return
        }
        try check(database, path)
        if version == 1 {
            try database.execute(sql: "ALTER TABLE client ADD COLUMN is_removed INTEGER NOT NULL DEFAULT 0")
            try database.execute(sql: "ALTER TABLE client ADD COLUMN section TEXT")
            try database.execute(sql: "ALTER TABLE client ADD COLUMN key_id TEXT")
            try database.execute(sql: "ALTER TABLE client ADD COLUMN denied_until_wall INTEGER")
            try database.execute(sql: "ALTER TABLE client ADD COLUMN denied_until_boot INTEGER")
            try database.execute(sql: "ALTER TABLE client ADD COLUMN denied_boot_id TEXT")
            try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        }
    }

    private static func check(_ database: Database, _ path: String) throws {
        let application = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard application == applicationID else {
            throw StateStoreError("\(path) is a database of another program; choose another --statedir")
        }
        guard (1...schemaVersion).contains(version) else {
            throw StateStoreError("\(path) was written by a later version (schema \(version)); use that one")
        }
        let problem = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
        guard problem == "ok" else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: problem) }
    }

    /// Times are milliseconds since 1970; `until_boot` is milliseconds on the boot clock of `boot_id`.
    private static let schema = """
        CREATE TABLE client (
            name TEXT PRIMARY KEY NOT NULL,
            until_wall INTEGER, until_boot INTEGER, boot_id TEXT,
            was_enabled_in_file INTEGER NOT NULL,
            created INTEGER NOT NULL,
            last_enabled INTEGER, last_checked_ok INTEGER,
            last_checker_status INTEGER, last_checker_signal INTEGER,
            last_approval_request INTEGER,
            overrides TEXT,
            is_removed INTEGER NOT NULL DEFAULT 0,
            section TEXT,
            key_id TEXT,
            denied_until_wall INTEGER, denied_until_boot INTEGER, denied_boot_id TEXT
        ) STRICT, WITHOUT ROWID
        """

    public func load() throws(StateStoreError) -> [ClientRecord] {
        do {
            return try queue.read { database in
                var records: [ClientRecord] = []
                let rows = try Row.fetchCursor(database, sql: "SELECT \(Self.columns) FROM client")
                while let row = try rows.next() { records.append(try Self.record(row)) }
                return records
            }
        } catch {
            throw Self.explain(error, "reading", path)
        }
    }

    public func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        do {
            try queue.write { database in
                try Self.save(records, database)
                for name in names { try database.execute(sql: "DELETE FROM client WHERE name = ?", arguments: [name]) }
            }
            guard FileIdentity(path) == identity else {
                throw StateStoreError("\(path) was deleted or replaced while the server runs; restart it")
            }
        } catch {
            throw Self.explain(error, "writing", path)
        }
    }

    private static func save(_ records: [ClientRecord], _ database: Database) throws {
        let statement = try database.cachedStatement(
            sql:
                "INSERT OR REPLACE INTO client (\(columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        for record in records {
            var status: Int32?
            var signal: Int32?
            switch record.lastCheckerStatus {
            case nil: break
            case .exit(let code): status = code
            case .signal(let number): signal = number
            }
            let overrides = record.overrides.isEmpty ? nil : try JSONEncoder().encode(record.overrides)
            try statement.execute(arguments: [
                record.name,
                record.until?.wall.millisecondsSince1970, record.until?.boot.milliseconds, record.until?.bootID.text,
                record.wasEnabledInFile,
                record.created.millisecondsSince1970,
                record.lastEnabled?.millisecondsSince1970, record.lastCheckedOK?.millisecondsSince1970,
                status, signal,
                record.lastApprovalRequest?.millisecondsSince1970,
                overrides.map { String(decoding: $0, as: UTF8.self) },
                record.isRemoved, record.section, record.keyID.map(String.init(describing:)),
                record.deniedUntil?.wall.millisecondsSince1970, record.deniedUntil?.boot.milliseconds,
                record.deniedUntil?.bootID.text,
            ])
        }
    }

    /// In the order in which ``record(_:)`` reads them: to look each up by its name takes longer than all the rest.
    private static let columns = """
        name, until_wall, until_boot, boot_id, was_enabled_in_file, created, last_enabled, last_checked_ok,
        last_checker_status, last_checker_signal, last_approval_request, overrides, is_removed, section, key_id,
        denied_until_wall, denied_until_boot, denied_boot_id
        """

    private static func record(_ row: Row) throws -> ClientRecord {
        func time(_ index: Int) -> Timestamp? { (row[index] as Int64?).map(Timestamp.init(millisecondsSince1970:)) }
        /// In three columns, from this one on.
        func deadline(_ index: Int) -> ClientRecord.Deadline? {
            guard let wall = time(index), let boot = row[index + 1] as Int64?, let id = row[index + 2] as String? else {
                return nil
            }
            return .init(bootID: BootID(id), boot: BootTime(milliseconds: boot), wall: wall)
        }
        var ending: TerminationStatus?
        if let status = row[8] as Int32? { ending = .exit(status: status) }
        if let signal = row[9] as Int32? { ending = .signal(signal) }
        let overrides = try (row[11] as String?).map {
            try JSONDecoder().decode(SettingOverrides.self, from: Data($0.utf8))
        }
        return ClientRecord(
            name: row[0], until: deadline(1), wasEnabledInFile: row[4],
            created: Timestamp(millisecondsSince1970: row[5]),
            lastEnabled: time(6), lastCheckedOK: time(7), lastCheckerStatus: ending, lastApprovalRequest: time(10),
            overrides: overrides ?? SettingOverrides(), deniedUntil: deadline(15), isRemoved: row[12], section: row[13],
            keyID: (row[14] as String?).flatMap { KeyID(hexadecimal: $0) })
    }

    private static func explain(_ error: any Error, _ action: String, _ path: String) -> StateStoreError {
        switch error {
        case let error as StateStoreError: return error
        case let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode):
            return StateStoreError(
                "\(path) is damaged: \(error.message ?? "no reason given"); restore it from a backup, or put it aside"
                    + " with --no-restore, which enables every client that clients.conf does not disable")
        case let error as DatabaseError where error.resultCode == .SQLITE_BUSY:
            return StateStoreError("\(path) is in use by another process; is there a server already?")
        case is DecodingError: return StateStoreError("\(path) is damaged: overrides that are none")
        case let error as DatabaseError:
            return StateStoreError("\(action) \(path): \(error.message ?? "\(error.resultCode)")")
        default: return StateStoreError("\(action) \(path): \(error)")
        }
    }
}
