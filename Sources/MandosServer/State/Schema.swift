import FoundationEssentials
import GRDB
import MandosCore
import MandosFormats

/// The database format: the tables, their version, and their rows.
enum Schema {
    /// "Mnds": distinguishes our database from those of other programs.
    private static let applicationID: Int32 = 0x4D6E_6473
    private static let version = 4
    /// The first version with a mark.
    private static let versionWithMark = 3

    /// Of this very database, in its only row; see ``StateMark``.
    private static let markTable = """
        CREATE TABLE mark (
            is_only INTEGER PRIMARY KEY CHECK (is_only = 1),
            database TEXT NOT NULL,
            generation INTEGER NOT NULL
        ) STRICT
        """

    /// Times are milliseconds since 1970; columns `…_boot` are milliseconds on the boot clock of the boot in `…boot_id`.
    ///
    /// The last three columns are numbers of commits: the one that inserted the row, the last that gave the client a right, and
    /// the one that deleted the row, which is gone only after that; see ``settle(_:confirmed:)``.
    private static let table = """
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
            denied_until_wall INTEGER, denied_until_boot INTEGER, denied_boot_id TEXT,
            passed_key_expiry INTEGER,
            object_path TEXT,
            saved_boot INTEGER,
            since INTEGER NOT NULL DEFAULT 0, given_in INTEGER, deleted_in INTEGER
        ) STRICT, WITHOUT ROWID
        """

    private static let index = "CREATE INDEX deleted ON client (deleted_in) WHERE deleted_in IS NOT NULL"

    /// The columns that each version added to the table.
    private static let columnsByVersion = [
        2: [
            "is_removed INTEGER NOT NULL DEFAULT 0", "section TEXT", "key_id TEXT", "denied_until_wall INTEGER",
            "denied_until_boot INTEGER", "denied_boot_id TEXT",
        ],
        3: ["passed_key_expiry INTEGER", "object_path TEXT"],
        4: ["saved_boot INTEGER", "since INTEGER NOT NULL DEFAULT 0", "given_in INTEGER", "deleted_in INTEGER"],
    ]

    /// What a database is before it is prepared.
    enum Condition {
        case empty
        /// Of an earlier version, which had no mark.
        case unmarked
        case marked(StateMark)

        /// - Parameters:
        ///   - expected: The mark beside the database; nil if there is none.
        ///   - fileChanges: SQLite's count of changes of the file, from before it was opened.
        /// - Throws: unless the database is the one that `expected` is about, and no older copy of it.
        func expect(_ expected: StateMark?, fileChanges: UInt32, _ path: String) throws(StateStoreError) {
            switch (self, expected) {
            case (.empty, nil), (.unmarked, nil): break
            case (.empty, _?): throw .lost(path)
            case (.unmarked, _?): throw .outdated(path)
            // Nothing was saved in it before its mark was written.
            case (.marked(let own), nil): if own.generation > 0 { throw .unmarked(path) }
            case (.marked(var own), let expected?):
                own.fileChanges = fileChanges
                guard expected.isMet(by: own) else { throw .outdated(path) }
            }
        }
    }

    /// Checks a database, and changes nothing.
    ///
    /// - Throws: for a database that is damaged, of another program, or of a later version.
    static func check(_ database: Database, _ path: String) throws -> Condition {
        let (application, found) = (try application(database), try found(database))
        if try application == 0 && found == 0 && !database.tableExists("client") {
            guard try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0 else {
                throw StateStoreError.foreign(path)
            }
            return .empty
        }
        guard application == applicationID else { throw StateStoreError.foreign(path) }
        guard (1...version).contains(found) else {
            throw StateStoreError("\(path) was written by a later version (schema \(found)); use that version")
        }
        let problem = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
        guard problem == "ok" else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: problem) }
        return try mark(database).map(Condition.marked) ?? .unmarked
    }

    /// Creates the tables in an empty database, or brings an older one up to date, once it is checked.
    ///
    /// - Returns: the mark of the database.
    static func prepare(_ database: Database) throws -> StateMark {
        let old = try mark(database)
        let found = try found(database)
        if let old, found == version { return old }
        if found == 0 {
            try database.execute(sql: "PRAGMA application_id = \(applicationID)")
            try database.execute(sql: table)
        } else {
            for column in (found + 1...version).flatMap({ columnsByVersion[$0] ?? [] }) {
                try database.execute(sql: "ALTER TABLE client ADD COLUMN \(column)")
            }
        }
        try database.execute(sql: index)
        try database.execute(sql: "PRAGMA user_version = \(version)")
        if let old { return old }
        let mark = StateMark.new()
        try database.execute(sql: markTable)
        try database.execute(
            sql: "INSERT INTO mark VALUES (1, ?, ?)", arguments: [mark.database, mark.generation])
        return mark
    }

    private static func application(_ database: Database) throws -> Int32 {
        try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
    }

    /// The version of the format; 0 if there is none.
    private static func found(_ database: Database) throws -> Int {
        try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    }

    // MARK: Mark

    /// nil for a database of an earlier version, which had none.
    static func mark(_ database: Database) throws -> StateMark? {
        guard try found(database) >= versionWithMark else { return nil }
        let row = try Row.fetchOne(database, sql: "SELECT database, generation FROM mark")
        guard let row else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "the mark is missing") }
        return StateMark(database: row[0], generation: row[1])
    }

    /// Counts a change, which belongs to the same transaction.
    ///
    /// - Parameter mayBeCounted: Whether the change before failed, perhaps at its last moment: then it is counted already.
    /// - Throws: if the database is not in the state in which `mark` has left it: somebody has written to the file.
    static func advanceMark(
        _ database: Database, from mark: StateMark, mayBeCounted: Bool, _ path: String
    ) throws {
        try database.cachedStatement(
            sql: "UPDATE mark SET generation = ?2 + 1 WHERE database = ?1 AND generation BETWEEN ?2 AND ?3"
        ).execute(arguments: [mark.database, mark.generation, mark.generation + (mayBeCounted ? 1 : 0)])
        guard database.changesCount == 1 else { throw StateStoreError.replaced(path) }
    }

    /// Undoes what the last commit gave, if the mark beside the database does not tell that it was complete: nobody knows then
    /// whether it was, and the server may have said that it was not. What it took away stays taken away.
    ///
    /// - Parameter confirmed: The number of the last commit that is known to be complete.
    static func settle(_ database: Database, confirmed: Int64) throws {
        for sql in [
            "DELETE FROM client WHERE since > ? AND until_wall IS NOT NULL",
            """
            UPDATE client SET until_wall = NULL, until_boot = NULL, boot_id = NULL, was_enabled_in_file = 1, given_in = NULL
                WHERE given_in > ?
            """,
            "UPDATE client SET deleted_in = NULL WHERE deleted_in > ?",
        ] { try database.execute(sql: sql, arguments: [confirmed]) }
    }

    /// Gives the database a new name: what was saved in other copies of it does not count any more.
    static func rename(_ database: Database) throws {
        try database.execute(sql: "UPDATE mark SET database = ?", arguments: [StateMark.new().database])
    }

    // MARK: Rows

    /// In the order in which ``record(_:)`` reads them: looking up each column by its name takes longer than all the rest.
    private static let columns = """
        name, until_wall, until_boot, boot_id, was_enabled_in_file, created, last_enabled, last_checked_ok,
        last_checker_status, last_checker_signal, last_approval_request, overrides, is_removed, section, key_id,
        denied_until_wall, denied_until_boot, denied_boot_id, passed_key_expiry, object_path, saved_boot
        """

    static func count(_ database: Database) throws -> Int {
        let condition = try found(database) >= version ? " WHERE deleted_in IS NULL" : ""
        return try Int.fetchOne(database, sql: "SELECT count(*) FROM client" + condition) ?? 0
    }

    static func load(_ database: Database) throws -> [ClientRecord] {
        var records: [ClientRecord] = []
        records.reserveCapacity(try count(database))
        let rows = try Row.fetchCursor(database, sql: "SELECT \(columns) FROM client WHERE deleted_in IS NULL")
        while let row = try rows.next() { records.append(try record(row)) }
        return records
    }

    /// Deletes rows in commit `number`. They are there until a later commit: ``settle(_:confirmed:)`` may need them.
    static func remove(_ names: [String], in number: Int64, _ database: Database) throws {
        for name in names {
            try database.execute(
                sql: "UPDATE client SET deleted_in = ? WHERE name = ? AND deleted_in IS NULL",
                arguments: [number, name])
        }
    }

    /// Removes the rows that complete commits have deleted.
    static func purge(_ database: Database, confirmed: Int64) throws {
        try database.cachedStatement(sql: "DELETE FROM client WHERE deleted_in <= ?").execute(arguments: [confirmed])
    }

    /// A row that a complete commit has deleted is a new one. One that this commit deleted, at a first try that failed, is not.
    private static let saving: String = {
        let names = columns.split { ", \n".contains($0) }
        let changes = names.dropFirst().map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
        return """
            INSERT INTO client (\(columns), since) VALUES (\(String(repeating: "?, ", count: names.count))?)
            ON CONFLICT (name) DO UPDATE SET \(changes), deleted_in = NULL,
                since = CASE WHEN client.deleted_in < excluded.since THEN excluded.since ELSE client.since END,
                given_in = CASE
                    WHEN client.deleted_in < excluded.since THEN NULL
                    WHEN client.until_wall IS NULL AND excluded.until_wall IS NOT NULL
                        OR client.was_enabled_in_file > excluded.was_enabled_in_file THEN excluded.since
                    ELSE client.given_in END
            """
    }()

    /// Saves records in commit `number`.
    static func save(_ records: [ClientRecord], in number: Int64, _ database: Database) throws {
        let statement = try database.cachedStatement(sql: saving)
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
                record.deniedUntil?.bootID.text, record.passedKeyExpiry?.millisecondsSince1970, record.objectPath,
                (record.until ?? record.deniedUntil)?.savedAt?.milliseconds, number,
            ])
        }
    }

    private static func record(_ row: Row) throws -> ClientRecord {
        func time(_ index: Int) -> Timestamp? { (row[index] as Int64?).map(Timestamp.init(millisecondsSince1970:)) }
        /// In three columns, beginning with this one.
        func deadline(_ index: Int) -> ClientRecord.Deadline? {
            guard let wall = time(index), let boot = row[index + 1] as Int64?, let id = row[index + 2] as String? else {
                return nil
            }
            return .init(
                bootID: BootID(id), boot: BootTime(milliseconds: boot), wall: wall,
                savedAt: (row[20] as Int64?).map(BootTime.init(milliseconds:)))
        }
        var checkerStatus: TerminationStatus?
        if let status = row[8] as Int32? { checkerStatus = .exit(status: status) }
        if let signal = row[9] as Int32? { checkerStatus = .signal(signal) }
        let overrides = try (row[11] as String?).map {
            try JSONDecoder().decode(SettingOverrides.self, from: Data($0.utf8))
        }
        return ClientRecord(
            name: row[0], until: deadline(1), wasEnabledInFile: row[4],
            created: Timestamp(millisecondsSince1970: row[5]),
            lastEnabled: time(6), lastCheckedOK: time(7), lastCheckerStatus: checkerStatus,
            lastApprovalRequest: time(10), overrides: overrides ?? SettingOverrides(), deniedUntil: deadline(15),
            isRemoved: row[12], section: row[13], keyID: (row[14] as String?).flatMap { KeyID(hexadecimal: $0) },
            passedKeyExpiry: time(18), objectPath: row[19])
    }
}
