import Foundation
import GRDB
import MandosCore
import MandosFormats
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
            bootID: BootID("boot"), boot: BootTime(milliseconds: $0), wall: Timestamp(millisecondsSince1970: $0 * 2))
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
                    store: SQLiteStateStore(directory: directory.path), checkers: CheckerRunner(logger: log[.checker]),
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
