import Foundation
import GRDB
import Glibc
import MandosCore
import MandosFormats
import struct POSIXKit.FileDescriptor
import func POSIXKit.readFile
import TestSupport
import Testing

@testable import MandosServer

private func record(_ name: String, isEnabled: Bool) -> ClientRecord {
    let deadline = ClientRecord.Deadline(
        bootID: BootID("boot"), boot: BootTime(milliseconds: 1), wall: Timestamp(millisecondsSince1970: 1))
    return ClientRecord(
        name: name, until: isEnabled ? deadline : nil, wasEnabledInFile: true, created: Timestamp(secondsSince1970: 1),
        lastEnabled: nil, lastCheckedOK: nil, lastCheckerStatus: nil, lastApprovalRequest: nil,
        overrides: SettingOverrides())
}

@Suite struct `A state file that others write to` {
    private func file(_ directory: TemporaryDirectory) -> URL { URL(filePath: directory.path + "/clients.sqlite") }

    /// As "cp backup clients.sqlite" does it.
    private func overwrite(_ url: URL, _ contents: Data) throws {
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: contents)
        try handle.close()
    }

    @Test func `an older copy written over the file of a server that runs is noticed`() throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStateStore(directory: directory.path)
        try store.commit([record("a", isEnabled: true), record("b", isEnabled: true)], removing: [])
        let older = try Data(contentsOf: file(directory))
        try store.commit([record("a", isEnabled: false)], removing: [])
        try overwrite(file(directory), older)
        #expect(throws: StateStoreError.self) { try store.commit([record("b", isEnabled: false)], removing: []) }
    }

    @Test func `one of the version before is brought up to date, and keeps its mark`() throws {
        let directory = try TemporaryDirectory()
        let records = [record("a", isEnabled: true), record("b", isEnabled: false)]
        do { try SQLiteStateStore(directory: directory.path).commit(records, removing: []) }
        let added = ["saved_boot", "since", "given_in", "deleted_in"]
        try DatabaseQueue(path: file(directory).path).write { database in
            try database.execute(sql: "DROP INDEX deleted")
            for column in added { try database.execute(sql: "ALTER TABLE client DROP COLUMN \(column)") }
            try database.execute(sql: "PRAGMA user_version = 3")
        }
        #expect(try SQLiteStateStore.examine(directory: directory.path).contains("2 clients"))
        for _ in 0..<2 {
            let store = try SQLiteStateStore(directory: directory.path)
            #expect(store.origin == .saved)
            #expect(try store.load().sorted { $0.name < $1.name } == records)
            try store.commit([record("b", isEnabled: false)], removing: ["gone"])
        }
    }

    @Test func `a backup has what is in a write-ahead log of an earlier version`() throws {
        let directory = try TemporaryDirectory()
        // Until it is upgraded, a database is as an earlier version left it.
        let made = directory.path + "/made.sqlite"
        do {
            let old = try DatabaseQueue(path: made)
            try old.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
            try old.writeWithoutTransaction { try $0.execute(sql: "PRAGMA wal_autocheckpoint = 0") }
            try old.write { database in
                try database.execute(
                    sql: """
                        PRAGMA application_id = \(0x4D6E_6473); PRAGMA user_version = 2;
                        CREATE TABLE client (name TEXT PRIMARY KEY NOT NULL, until_wall INTEGER, until_boot INTEGER,
                        boot_id TEXT, was_enabled_in_file INTEGER NOT NULL, created INTEGER NOT NULL, last_enabled INTEGER,
                        last_checked_ok INTEGER, last_checker_status INTEGER, last_checker_signal INTEGER,
                        last_approval_request INTEGER, overrides TEXT, is_removed INTEGER NOT NULL DEFAULT 0, section TEXT,
                        key_id TEXT, denied_until_wall INTEGER, denied_until_boot INTEGER, denied_boot_id TEXT)
                        STRICT, WITHOUT ROWID;
                        INSERT INTO client (name, was_enabled_in_file, created, until_wall, until_boot, boot_id)
                        VALUES ('a', 1, 1, 1, 1, 'boot')
                        """)
            }
            try old.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try old.write {
                try $0.execute(sql: "UPDATE client SET until_wall = NULL, until_boot = NULL, boot_id = NULL")
            }
            // kill -9
            for suffix in ["", "-wal"] {
                try FileManager.default.copyItem(atPath: made + suffix, toPath: file(directory).path + suffix)
            }
        }
        let copy = try FileDescriptor.inMemory("backup")
        _ = try SQLiteStateStore.backUp(directory: directory.path, to: copy)
        let contents = try readFile("/proc/self/fd/\(copy.number)", limit: 1 << 20)
        let other = try TemporaryDirectory()
        _ = try SQLiteStateStore.restore(contents, directory: other.path)
        #expect(try SQLiteStateStore(directory: other.path).load().map(\.until) == [nil])
    }

    @Test func `a server that dies between making the mark and writing it can start again`() throws {
        let directory = try TemporaryDirectory()
        _ = try SQLiteStateStore(directory: directory.path)
        try overwrite(URL(filePath: directory.path + "/clients.mark"), Data())
        // The database is complete, and nothing was acknowledged yet.
        #expect(throws: Never.self) { _ = try SQLiteStateStore(directory: directory.path) }
    }
}
