import Foundation
import GRDB
import Glibc
import MandosCore
import MandosFormats
import struct POSIXKit.FileDescriptor
import TestSupport
import Testing

@testable import MandosServer

extension TemporaryDirectory {
    /// The state in this directory.
    fileprivate var file: String { path + "/" + SQLiteStateStore.fileName }
}

private func record(_ name: String, until: Int64? = nil, ending: TerminationStatus? = nil) -> ClientRecord {
    let deadline = until.map {
        ClientRecord.Deadline(
            bootID: BootID("boot"), boot: BootTime(milliseconds: $0), wall: Timestamp(millisecondsSince1970: $0 * 2),
            savedAt: BootTime(milliseconds: $0 - 1))
    }
    return ClientRecord(
        name: name, until: deadline, wasEnabledInFile: until != nil, created: Timestamp(secondsSince1970: 1),
        lastEnabled: Timestamp(secondsSince1970: 2), lastCheckedOK: nil, lastCheckerStatus: ending,
        lastApprovalRequest: Timestamp(secondsSince1970: 4), overrides: SettingOverrides())
}

@Suite struct `The state on disk` {
    @Test func `is what was saved`() throws {
        let directory = try TemporaryDirectory()
        var rest = record("e", until: 9)
        rest.deniedUntil = rest.until
        rest.isRemoved = true
        rest.section = "[e]"
        rest.passedKeyExpiry = Timestamp(secondsSince1970: 7)
        rest.objectPath = "/clients/e_2"
        let records = [
            rest, record("a", until: 5), record("b"), record("ü c", until: 7, ending: .exit(status: 3)),
            record("d", ending: .signal(9)),
        ]
        try SQLiteStateStore(directory: directory.path).commit(records + [record("gone")], removing: [])
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit([record("a", until: 6)], removing: ["gone"])
        }
        let loaded = try SQLiteStateStore(directory: directory.path).load().sorted { $0.name < $1.name }
        #expect(loaded == [record("a", until: 6)] + records.filter { $0.name != "a" }.sorted { $0.name < $1.name })
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let apply: @Sendable (Data) -> Data
    }

    static let damages = [
        Damage(testDescription: "random bytes") { _ in
            Data((0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 3) })
        },
        Damage(testDescription: "a text") { _ in Data("[foo]\nhost = bar\n".utf8) },
        Damage(testDescription: "half of itself") { $0.prefix($0.count / 2) },
        Damage(testDescription: "itself with a hole") {
            $0.prefix(4096) + Data(repeating: 0xAA, count: 4096) + $0.dropFirst(8192)
        },
    ]

    @Test(arguments: damages)
    func `that is damaged stops the server, and stays as it is`(damage: Damage) throws {
        let directory = try TemporaryDirectory()
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit((0..<500).map { record("client \($0)", until: 1) }, removing: [])
        }
        let damaged = damage.apply(try Data(contentsOf: URL(filePath: directory.file)))
        try damaged.write(to: URL(filePath: directory.file))
        let error = try #require(throws: StateStoreError.self) {
            _ = try SQLiteStateStore(directory: directory.path).load()
        }
        #expect(error.description.contains(directory.file), "\(error)")
        #expect(try Data(contentsOf: URL(filePath: directory.file)) == damaged)
    }

    /// What may become of the state between two starts, as a script with the state directory as `$1`.
    static let losses = [
        "rm $1/clients.sqlite", ": >$1/clients.sqlite", "cp $1/old $1/clients.sqlite", "cp $1/other $1/clients.sqlite",
        ": >$1/clients.mark", "echo nonsense >$1/clients.mark", "truncate -s 20 $1/clients.mark",
    ]

    @Test(arguments: losses) func `that is lost or older is no first start`(loss: String) async throws {
        let directory = try TemporaryDirectory()
        let another = try TemporaryDirectory()
        do { try SQLiteStateStore(directory: another.path).commit([record("a", until: 5)], removing: []) }
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            #expect(store.origin == .new)
            try store.commit([record("a", until: 5)], removing: [])
            let old = try Data(contentsOf: URL(filePath: directory.file))
            try directory.write(old, to: "old")
            try directory.write(try Data(contentsOf: URL(filePath: another.file)), to: "other")
            try store.commit([record("a")], removing: [])
        }
        #expect(try SQLiteStateStore(directory: directory.path).origin == .saved)
        #expect(try await TestSupport.run("/bin/sh", ["-c", loss, "sh", directory.path]).status == 0)
        for _ in 0..<2 {
            #expect(throws: StateStoreError.self) { try SQLiteStateStore.examine(directory: directory.path) }
            #expect(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
        }
        // An operator may say that it is to be so.
        _ = try SQLiteStateStore.putAside(directory: directory.path)
        #expect(try SQLiteStateStore(directory: directory.path).origin == .new)
    }

    @Test(arguments: ["rm", ": >"])
    func `is not taken for the latest when its mark is gone, unless nothing was saved in it`(how: String) async throws {
        let directory = try TemporaryDirectory()
        func loseMark() async throws {
            let command = "\(how) \(directory.path)/clients.mark"
            #expect(try await TestSupport.run("/bin/sh", ["-c", command]).status == 0)
        }
        _ = try SQLiteStateStore(directory: directory.path)
        try await loseMark()
        do { try SQLiteStateStore(directory: directory.path).commit([record("a")], removing: []) }
        try await loseMark()
        let error = try #require(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
        #expect(error.description.contains("--restore \(directory.file)"), "\(error)")
    }

    @Test func `that was restored is the only one that counts`() throws {
        let directory = try TemporaryDirectory()
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit([record("a", until: 5)], removing: [])
            let old = try Data(contentsOf: URL(filePath: directory.file))
            for _ in 0..<3 { try store.commit([record("b")], removing: []) }
            try directory.write(old, to: "old")
        }
        let latest = try Data(contentsOf: URL(filePath: directory.file))
        let old = [UInt8](try Data(contentsOf: URL(filePath: directory.path + "/old")))
        // A journal that a restoring that crashed has left is not another's.
        try directory.write("nonsense", to: "clients.sqlite.new-journal")
        _ = try SQLiteStateStore.restore(old, directory: directory.path)
        do { try SQLiteStateStore(directory: directory.path).commit([record("a")], removing: []) }
        try latest.write(to: URL(filePath: directory.file))
        #expect(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
    }

    @Test func `that is older beside the journal of a crash is not taken for the latest`() throws {
        let directory = try TemporaryDirectory()
        let crash = try TemporaryDirectory()
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit((0..<300).map { record("client \($0)", until: 5) }, removing: [])
            try directory.write(try Data(contentsOf: URL(filePath: directory.file)), to: "old")
            for number in 0..<5 { try store.commit([record("client \(number)")], removing: []) }
            // As a kill in the middle of a commit leaves it: the journal has what the file is to be again.
            let other = try DatabaseQueue(path: directory.file)
            try other.writeWithoutTransaction { database in
                try database.execute(
                    sql: "PRAGMA journal_mode = TRUNCATE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1")
                try database.execute(
                    sql: "BEGIN IMMEDIATE; UPDATE client SET created = 9; UPDATE mark SET generation = 99")
                for suffix in ["", "-journal"] {
                    try crash.write(
                        try Data(contentsOf: URL(filePath: directory.file + suffix)), to: "clients.sqlite" + suffix)
                }
                try database.execute(sql: "ROLLBACK")
            }
        }
        try crash.write(try Data(contentsOf: URL(filePath: directory.path + "/clients.mark")), to: "clients.mark")
        let journal = try #require(crash.contents(of: "clients.sqlite-journal"))
        #expect(journal.count > 512)
        // With its own file it is what was saved last, and can be checked and copied.
        #expect(try SQLiteStateStore.examine(directory: crash.path).contains("300 clients"))
        do {
            let store = try SQLiteStateStore(directory: crash.path)
            #expect(try store.load().count { $0.until == nil } == 5)
        }
        let old = try #require(directory.contents(of: "old"))
        try crash.write(old, to: "clients.sqlite")
        try crash.write(journal, to: "clients.sqlite-journal")
        #expect(throws: StateStoreError.self) { try SQLiteStateStore(directory: crash.path) }
    }

    /// As a disk leaves it that fails at the end of a commit, or a crash: the mark beside the database tells nothing of it.
    @Test func `gives nobody anything by a commit that may have failed`() throws {
        let directory = try TemporaryDirectory()
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit(
                [
                    record("disabled"), record("enabled", until: 5), record("forgotten"), record("again"),
                    record("on", until: 5),
                ],
                removing: [])
            try store.commit([record("by file", until: 5)], removing: ["again"])
            let mark = try #require(directory.contents(of: StateMark.fileName))
            try store.commit(
                [
                    record("disabled", until: 9), record("enabled"), record("new", until: 9), record("new, off"),
                    record("again", until: 9), record("on", until: 9),
                ], removing: ["forgotten", "by file"])
            #expect(try store.load().count == 6)
            try directory.write(mark, to: StateMark.fileName)
        }
        // Not a moment to copy it.
        let file = try POSIXKit.FileDescriptor.nothing()
        #expect(throws: StateStoreError.self) { try SQLiteStateStore.backUp(directory: directory.path, to: file) }
        for _ in 0..<2 {
            let store = try SQLiteStateStore(directory: directory.path)
            let loaded = Dictionary(uniqueKeysWithValues: try store.load().map { ($0.name, $0) })
            #expect(loaded.keys.sorted() == ["by file", "disabled", "enabled", "forgotten", "new, off", "on"])
            #expect(loaded.values.filter { $0.until != nil }.map(\.name).sorted() == ["by file", "on"])
            // Neither an operator nor a file has enabled it.
            #expect(loaded["disabled"]?.wasEnabledInFile == true)
        }
        // What is complete counts.
        let store = try SQLiteStateStore(directory: directory.path)
        try store.commit([record("disabled", until: 9)], removing: ["forgotten"])
        try store.commit([record("forgotten", until: 9)], removing: [])
        #expect(try store.load().filter { $0.until != nil }.count == 4)
    }

    @Test func `is in one file, which is a backup at any moment`() throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStateStore(directory: directory.path)
        for number in 0..<5 {
            try store.commit([record("client \(number)", until: 5)], removing: [])
            let copy = try TemporaryDirectory()
            let contents = [UInt8](try Data(contentsOf: URL(filePath: directory.file)))
            #expect(try SQLiteStateStore.restore(contents, directory: copy.path) == nil)
            #expect(try SQLiteStateStore(directory: copy.path).load().count == number + 1)
        }
    }

    @Test func `can be backed up while a server has it, and restored`() throws {
        let directory = try TemporaryDirectory()
        let backup = directory.path + "/backup"
        let store = try SQLiteStateStore(directory: directory.path)
        try store.commit([record("a")], removing: [])
        let file = try POSIXKit.FileDescriptor.open(backup, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        let size = try SQLiteStateStore.backUp(directory: directory.path, to: file)
        let contents = [UInt8](try Data(contentsOf: URL(filePath: backup)))
        #expect(contents.count == size)
        try store.commit([record("a", until: 5), record("b")], removing: [])
        #expect(throws: StateStoreError.self) { try SQLiteStateStore.restore(contents, directory: directory.path) }
        #expect(try store.load().count == 2, "not while a server has it")

        let other = try TemporaryDirectory()
        do { try SQLiteStateStore(directory: other.path).commit([record("x")], removing: []) }
        for damaged in [[], Array(contents.prefix(100)), Array("no database, but long enough to look at".utf8)] {
            #expect(throws: StateStoreError.self) { try SQLiteStateStore.restore(damaged, directory: other.path) }
            #expect(try SQLiteStateStore(directory: other.path).load().map(\.name) == ["x"])
        }
        #expect(try SQLiteStateStore.restore(contents, directory: other.path) == "\(other.file).~1~")
        let restored = try SQLiteStateStore(directory: other.path)
        #expect(try restored.load() == [record("a")])
        #expect(restored.origin == .saved)
    }

    @Test func `is not shared by two servers, even without the lock's file`() throws {
        let directory = try TemporaryDirectory()
        let first = try SQLiteStateStore(directory: directory.path)
        try first.commit([record("a", until: 5)], removing: [])
        try FileManager.default.removeItem(atPath: directory.path + "/lock")
        let second = try SQLiteStateStore(directory: directory.path)
        #expect(throws: StateStoreError.self) { try first.commit([record("a")], removing: []) }
        try second.commit([record("b")], removing: [])
        // Were it not for the lock, the count of changes would tell.
        #expect(throws: StateStoreError.self) { try first.commit([record("a")], removing: []) }
        try second.commit([record("c")], removing: [])
    }

    @Test func `writes nothing once its file has been taken away`() throws {
        let directory = try TemporaryDirectory()
        let away = directory.path + "/away"
        do {
            let store = try SQLiteStateStore(directory: directory.path)
            try store.commit([record("a")], removing: [])
            try FileManager.default.moveItem(atPath: directory.file, toPath: away)
            #expect(throws: StateStoreError.self) { try store.commit([record("a", until: 5)], removing: []) }
            try FileManager.default.moveItem(atPath: away, toPath: directory.file)
        }
        #expect(try SQLiteStateStore(directory: directory.path).load() == [record("a")])
    }

    @Test func `of another program is left alone`() throws {
        let directory = try TemporaryDirectory()
        try run("CREATE TABLE other (x)", on: directory.file)
        let error = try #require(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
        #expect(error.description.contains("is a database of another program"))
    }

    @Test func `of a later version is left alone`() throws {
        let directory = try TemporaryDirectory()
        _ = try SQLiteStateStore(directory: directory.path)
        try run("PRAGMA user_version = 99", on: directory.file)
        let error = try #require(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
        #expect(error.description.contains("later version (schema 99)"))
    }

    @Test func `has one record for a name that is spelt differently`() async throws {
        let directory = try TemporaryDirectory()
        func registry(_ name: String) throws -> Registry {
            let settings = try ClientSettings.parsing(section(name))
            let log = Log(LogLevels(), to: [])
            return try Registry(
                [settings],
                .init(
                    store: SQLiteStateStore(directory: directory.path), checkers: NoCheckers(),
                    log: log))
        }
        _ = try registry("caf\u{E9}")
        do {
            let registry = try registry("cafe\u{301}")
            try await registry.disable("caf\u{E9}")
        }
        let records = try SQLiteStateStore(directory: directory.path).load()
        #expect(records.count == 1 && records.first?.until == nil)
    }

    @Test func `refuses to say that it saved into a file that is gone`() throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStateStore(directory: directory.path)
        try FileManager.default.removeItem(atPath: directory.file)
        let error = try #require(throws: StateStoreError.self) { try store.commit([record("a")], removing: []) }
        #expect(error.description.contains("deleted or replaced"), "\(error)")
    }

    @Test func `is not put aside while a server has it`() throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStateStore(directory: directory.path)
        let error = try #require(throws: StateStoreError.self) {
            try SQLiteStateStore.putAside(directory: directory.path)
        }
        #expect(error.description.contains("in use by another process"))
        try store.commit([record("a")], removing: [])
    }

    @Test func `belongs to one server at a time`() throws {
        let directory = try TemporaryDirectory()
        let first = try SQLiteStateStore(directory: directory.path)
        let error = try #require(throws: StateStoreError.self) { try SQLiteStateStore(directory: directory.path) }
        #expect(error.description.contains("in use by another process"))
        #expect(try SQLiteStateStore.examine(directory: directory.path).contains("in use by a server"))
        try first.commit([record("a")], removing: [])
    }

    @Test func `cannot be where there is no directory`() throws {
        let error = try #require(throws: StateStoreError.self) { try SQLiteStateStore(directory: "/nonexistent") }
        #expect(error.description.contains("/nonexistent/clients.sqlite"))
    }

    @Test func `is put aside under a number of its own`() throws {
        let directory = try TemporaryDirectory()
        #expect(try SQLiteStateStore.putAside(directory: directory.path) == nil)
        for number in 1...2 {
            _ = try SQLiteStateStore(directory: directory.path)
            #expect(try SQLiteStateStore.putAside(directory: directory.path) == "\(directory.file).~\(number)~")
        }
        #expect(try SQLiteStateStore(directory: directory.path).load().isEmpty)
    }

    private func run(_ sql: String, on path: String) throws {
        try DatabaseQueue(path: path).writeWithoutTransaction { try $0.execute(sql: sql) }
    }
}
