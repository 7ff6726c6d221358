import MandosCore
import MandosFormats
import Synchronization
import TestSupport
import Testing

@testable import MandosServer

/// Ways to a secret that was taken away: operators at the same time, reloads with other names and keys, a crash after each.
@Suite struct `A right that was taken away` {
    private let secret = SecretDecision.release(Secret(Array("secret".utf8)))

    /// A client with this name and the key of this number.
    private func client(_ name: String, key: Int, _ rest: String = "") throws -> ClientSettings {
        try .parsing(section(name, key: key, checker: "check", rest))
    }

    @Test func `a removal is on the disk when it is acknowledged, although a reload renames the client`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        let reloading = try await world.begin { _ = try await registry.reload(settings("renamed")) }
        let removing = Task { try await registry.remove("a") }
        try await waitUntil("the other") { await !registry.disabling.isEmpty }
        world.store.release()
        try await reloading.value
        try await removing.value
        // kill -9
        #expect(await world.decision(try world.registry(settings("renamed"))) != secret)
    }

    @Test func `a removal hits the client that had the name when it was asked for`() async throws {
        let world = World()
        let registry = try world.registry([client("a", key: 1), client("b", key: 2)])
        let reloading = try await world.begin {
            _ = try await registry.reload([client("a", key: 2), client("b", key: 1)])
        }
        let removing = Task { try await registry.remove("a") }
        try await waitUntil("the other") { await !registry.disabling.isEmpty }
        world.store.release()
        try await reloading.value
        try await removing.value
        #expect(
            await world.decision(try world.registry([client("a", key: 2), client("b", key: 1)])) != secret)
    }

    @Test func `who disables, denies or removes nobody is told`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        await #expect(throws: (any Error).self) { try await registry.disable("gone") }
        await #expect(throws: (any Error).self) { try await registry.remove("gone") }
        await #expect(throws: (any Error).self) { try await registry.answerRequests(of: "gone", approved: false) }
    }

    @Test func `a denial is on the disk although somebody approves at the same time`() async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1H\n"
        let registry = try world.registry(settings("a", "b", rest: rest))
        let other = try await world.begin { try await registry.disable("b") }
        let denying = Task { try await registry.answerRequests(of: "a", approved: false) }
        try await waitUntil("the denial") {
            if case .denied? = await registry.snapshot("a")?.client.approval { true } else { false }
        }
        try await registry.answerRequests(of: "a", approved: true)
        world.store.release()
        try await other.value
        try await denying.value
        #expect(await world.decision(registry) == .refuse(.denied))
        // kill -9
        #expect(await world.decision(try world.registry(settings("a", "b", rest: rest))) == .refuse(.denied))
    }

    @Test func `a denial that waited for the disk for longer than it lasts is on the disk`() async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1M\n"
        let registry = try world.registry(settings("a", "b", rest: rest))
        let other = try await world.begin { try await registry.disable("b") }
        let denying = Task { try await registry.answerRequests(of: "a", approved: false) }
        try await waitUntil("the denial") {
            if case .denied? = await registry.snapshot("a")?.client.approval { true } else { false }
        }
        world.clock.advance(by: .minutes(1))
        world.store.release()
        try await other.value
        try await denying.value
        #expect(await world.decision(registry) == .refuse(.denied))
        #expect(await world.decision(try world.registry(settings("a", "b", rest: rest))) == .refuse(.denied))
    }

    @Test func `a denial goes with the key when the client is renamed`() async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1H\n"
        let registry = try world.registry(settings("a", rest: rest))
        try await registry.answerRequests(of: "a", approved: false)
        #expect(await world.decision(registry) == .refuse(.denied))
        _ = try await registry.reload(settings("renamed", rest: rest))
        #expect(await world.decision(registry) == .refuse(.denied))
    }

    @Test func `a disabled key that left the files because its section got another is still disabled`() async throws {
        let world = World()
        let registry = try world.registry([client("a", key: 1), client("z", key: 9)])
        try await registry.disable("a")
        _ = try await registry.reload([client("a", key: 2), client("z", key: 9)])
        _ = try await registry.add(section("b", key: 1, checker: "check", ""))
        #expect(await world.decision(registry, key: 1) == .refuse(.disabled))
    }

    @Test func `the same with a reload instead of --add`() async throws {
        let world = World()
        let registry = try world.registry([client("a", key: 1), client("z", key: 9)])
        try await registry.disable("a")
        _ = try await registry.reload([client("a", key: 2), client("z", key: 9)])
        _ = try await registry.reload([client("a", key: 2), client("b", key: 1), client("z", key: 9)])
        #expect(await world.decision(registry, key: 1) == .refuse(.disabled))
    }

    @Test(arguments: ["added", "other"])
    func `a disabled client that did not fit at the start is disabled when it is added again`(name: String) async throws
    {
        let world = World()
        let registry = try world.registry(settings("a"))
        _ = try await registry.add(section("added", key: 2, checker: "check", ""))
        try await registry.disable("added")
        // A section of the files has its key for a while.
        let again = try world.registry([client("a", key: 1), client("b", key: 2)])
        _ = try await again.reload([client("a", key: 1)])
        _ = try await again.add(section(name, key: 2, checker: "check", ""))
        #expect(await world.decision(again, key: 2) == .refuse(.disabled))
    }

    @Test func `a client whose time ran out is not enabled by a new name at the start`() async throws {
        let world = World()
        _ = try world.registry(settings("a"))
        world.clock.advance(by: .minutes(120))
        #expect(await world.decision(try world.registry(settings("renamed"))) == .refuse(.disabled))
    }

    @Test func `a client that expires while a reload renames it is disabled on the disk`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        world.clock.advance(by: .minutes(4))
        let reloading = try await world.begin { _ = try await registry.reload(settings("renamed")) }
        world.clock.advance(by: .minutes(1))
        _ = await registry.advance()
        world.store.release()
        try await reloading.value
        #expect(await world.decision(registry) == .refuse(.disabled))
        // kill -9
        #expect(await world.decision(try world.registry(settings("renamed"))) == .refuse(.disabled))
    }

    /// A disk that takes a number of commits, and no more.
    private final class SmallDisk: StateStore {
        let disk: TestStore
        let room: Mutex<Int>

        init(_ disk: TestStore, room: Int) {
            self.disk = disk
            self.room = Mutex(room)
        }

        func load() throws(StateStoreError) -> [ClientRecord] { try disk.load() }

        func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
            guard
                room.withLock({
                    $0 -= 1; return $0 >= 0
                })
            else { throw StateStoreError("the disk is full") }
            try disk.commit(records, removing: names)
        }
    }

    private func registry(
        _ world: World, _ store: any StateStore, _ settings: [ClientSettings], defaults: String = ""
    ) throws -> Registry {
        let clock = world.clock
        return try Registry(
            settings, defaults: [ConfigFile.parse(Array(defaults.utf8), path: "").defaults],
            .init(
                store: store, checkers: world.checkers, log: Log(LogLevels(), to: []), now: { clock.now },
                bootID: BootID("test"), jitter: { _ in .zero }))
    }

    @Test func `a disabling that could not be saved is not acknowledged, and who enabled before it was told the truth`()
        async throws
    {
        let world = World()
        // The start, the first disabling, the enabling.
        let registry = try registry(world, SmallDisk(world.store, room: 3), settings("a"))
        try await registry.disable("a")
        let enabling = try await world.begin { try await registry.enable("a") }
        let disabling = Task { try await registry.disable("a") }
        try await waitUntil("the other") { await !registry.disabling.isEmpty }
        world.store.release()
        try await enabling.value
        await #expect(throws: (any Error).self) { try await disabling.value }
        #expect(await world.decision(registry) == .refuse(.disabled))
    }

    @Test(arguments: ["added", "other"])
    func `a disabled client that does not fit beside the defaults is disabled when it is added again`(
        name: String
    ) async throws {
        let world = World()
        let first = try registry(world, world.store, settings("a"), defaults: "[DEFAULT]\nspan = PT1H\n")
        _ = try await first.add(section("added", key: 2, checker: "check", "timeout = %(span)s\n"))
        try await first.disable("added")
        let again = try registry(world, world.store, settings("a"))
        #expect(await again.snapshot("added") == nil)
        _ = try await again.add(section(name, key: 2, checker: "check", ""))
        #expect(await world.decision(again, key: 2) == .refuse(.disabled))
    }

    @Test
    func `a disabled client that was hidden is disabled whatever the defaults say when it is not hidden any more`()
        async throws
    {
        let world = World()
        let off = "[DEFAULT]\nenabled = no\n"
        let first = try registry(world, world.store, settings("a"), defaults: off)
        _ = try await first.add(section("added", key: 2, checker: "check", ""))
        let hiding = try registry(
            world, world.store, [client("a", key: 1), client("file", key: 2)], defaults: off)
        // The key may have it, but nobody has enabled the client that is hidden.
        try await hiding.enable("file")
        let last = try registry(world, world.store, settings("a"))
        #expect(await last.snapshot("added") != nil)
        #expect(await world.decision(last, key: 2) == .refuse(.disabled))
    }

    @Test func `adding a client without a key forgets no other`() async throws {
        let world = World()
        func keyless(_ name: String) -> String {
            "[\(name)]\nfingerprint = \(String(repeating: "0", count: 40))\nsecret = c2VjcmV0\nchecker = check\n"
        }
        let a = try client("a", key: 1)
        let registry = try world.registry([a, .parsing(keyless("old"))])
        try await registry.disable("old")
        _ = try await registry.reload([a])
        _ = try await registry.add(keyless("new"))
        _ = try await registry.reload([a, client("old", key: 2)])
        #expect(await world.decision(registry, key: 2) == .refuse(.disabled))
    }

    @Test func `a client whose key has expired is cut off`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        let isCut = Flag()
        let waiter = ApprovalWaiter(
            keyID: KeyID(hexadecimal: keyID(1)), address: "", since: world.clock.now.boot, cut: { isCut.set() })
        #expect(await registry.answer(waiter).decision == secret)
        _ = try await registry.reload(settings("a", "b", rest: "key_expires = 2001-01-01T00:00:00Z\n"))
        #expect(await world.decision(registry) == .refuse(.keyExpired))
        #expect(isCut.isSet)
    }

    @Test func `the time of a key ends also if nobody asks, and cuts off who is receiving`() async throws {
        let world = World()
        let rest = "timeout = PT9H\ninterval = PT8H\n"
        let clients = [try client("a", key: 1, "key_expires = 2027-01-15T09:00:00Z\n" + rest)]
        let registry = try world.registry(clients)
        _ = await registry.advance()
        let isCut = Flag()
        let waiter = ApprovalWaiter(
            keyID: KeyID(hexadecimal: keyID(1)), address: "", since: world.clock.now.boot, cut: { isCut.set() })
        #expect(await registry.answer(waiter).decision == secret)
        world.clock.advance(by: .minutes(61))
        _ = await registry.advance()
        await registry.waitForCuts()
        #expect(isCut.isSet)
        await registry.saveWhatIsDue()
        world.clock.stepWall(by: .minutes(-120))
        #expect(await world.decision(registry) == .refuse(.keyExpired))
        #expect(await world.decision(try world.registry(clients)) == .refuse(.keyExpired))
    }

    /// Renamed, or swapped with another client's name; the clock is set back in between.
    @Test(arguments: [["renamed"], ["b", "a"]], [true, false])
    func `a key whose time has ended does not come back under another name`(names: [String], isRestart: Bool)
        async throws
    {
        let world = World()
        let rest = "key_expires = 2027-01-15T09:00:00Z\ntimeout = PT9H\n"
        let before = [try client("a", key: 1, rest), try client("b", key: 2, "timeout = PT9H\n")]
        var registry = try world.registry(before)
        world.clock.advance(by: .minutes(61))
        #expect(await world.decision(registry) == .refuse(.keyExpired))
        await registry.saveUnsaved()
        world.clock.stepWall(by: .minutes(-120))
        let after = try zip(names, 1...).map { name, key in try client(name, key: key, rest) }
        if isRestart { registry = try world.registry(after) } else { _ = try await registry.reload(after) }
        #expect(await world.decision(registry) == .refuse(.keyExpired))
        if names.count > 1 { #expect(await world.decision(registry, key: 2) == secret, "that was never over") }
    }

    @Test(arguments: [true, false])
    func `a denial outlives that the client is disabled and enabled again`(isByFile: Bool) async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1H\n"
        let registry = try world.registry(settings("a", "b", rest: rest))
        try await registry.answerRequests(of: "a", approved: false)
        if isByFile {
            _ = try await registry.reload(settings("a", "b", rest: rest + "enabled = no\n"))
            _ = try await registry.reload(settings("a", "b", rest: rest))
        } else {
            try await registry.disable("a")
            try await registry.enable("a")
        }
        #expect(await world.decision(registry) == .refuse(.denied))
        #expect(await world.decision(try world.registry(settings("a", "b", rest: rest))) == .refuse(.denied))
    }

    @Test(arguments: [true, false])
    func `an added client that is left out loses its rights with the client that has its key`(isRemoved: Bool)
        async throws
    {
        let world = World()
        let registry = try world.registry(settings("a"))
        _ = try await registry.add(section("added", key: 2, checker: "check", ""))
        let again = try world.registry([client("a", key: 1), client("file", key: 2)])
        if isRemoved { try await again.remove("file") } else { try await again.disable("file") }
        // The section goes while the server is down.
        let last = try world.registry([client("a", key: 1)])
        #expect(await world.decision(last, key: 2) == .refuse(.disabled))
    }

    /// A client of the files that is disabled there has the key of an added client, which nobody sees meanwhile.
    @Test func `who disables what is disabled already is told when that is on the disk for all who have the key`()
        async throws
    {
        let world = World()
        let registry = try world.registry(settings("a"))
        _ = try await registry.add(section("added", key: 2, checker: "check", ""))
        let again = try world.registry([client("a", key: 1), client("file", key: 2, "enabled = no\n")])
        try await again.disable("file")
        #expect(world.store.records["added"]?.until == nil)
        // kill -9
        let last = try world.registry([client("a", key: 1)])
        #expect(await world.decision(last, key: 2) == .refuse(.disabled))
    }

    @Test func `a denial goes with the key to an added client that was left out`() async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1H\n"
        let registry = try world.registry(settings("a"))
        _ = try await registry.add(section("added", key: 2, checker: "check", rest))
        let again = try world.registry([client("a", key: 1), client("file", key: 2, rest)])
        try await again.answerRequests(of: "file", approved: false)
        let last = try world.registry([client("a", key: 1)])
        #expect(await last.snapshot("added") != nil)
        #expect(await world.decision(last, key: 2) == .refuse(.denied))
    }

    @Test(arguments: [["a": 4, "b": 2], ["a": 2, "b": 1]])
    func `an approval is for the key that had the name then`(keys: [String: Int]) async throws {
        let world = World()
        let rest = "approval_delay = PT1M\napproval_duration = PT1H\napproved_by_default = no\n"
        let registry = try world.registry([client("a", key: 1, rest), client("b", key: 2, rest)])
        try await registry.answerRequests(of: "a", approved: true)
        #expect(await world.decision(registry) == secret)
        _ = try await registry.reload(keys.sorted { $0.key < $1.key }.map { try client($0.key, key: $0.value, rest) })
        #expect(await world.decision(registry, key: keys["a"] ?? 0) != secret)
        #expect(await world.decision(registry, key: keys["b"] ?? 0) != secret)
    }

    /// Five minutes after the start, or after its last check.
    @Test(arguments: [true, false]) func `a new name gives a client no more time`(isRestart: Bool) async throws {
        let world = World()
        var registry = try world.registry(settings("a"))
        world.clock.advance(by: .minutes(4))
        await registry.saveUnsaved()
        if isRestart {
            registry = try world.registry(settings("renamed"))
        } else {
            _ = try await registry.reload(settings("renamed"))
        }
        #expect(await world.decision(registry) == secret)
        world.clock.advance(by: .minutes(1))
        #expect(await world.decision(registry) == .refuse(.disabled))
    }

    @Test func `a new name takes the last check along, and the one that is under way is made again`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        #expect(await registry.advance().map(\.name) == ["a"])
        await registry.checkerEnded("a", .exit(status: 0))
        let checked = await registry.snapshot("a")?.client.lastCheckedOK
        world.clock.advance(by: .minutes(2))
        #expect(await registry.advance().map(\.name) == ["a"])
        _ = try await registry.reload(settings("renamed"))
        #expect(await registry.snapshot("renamed")?.client.lastCheckedOK == checked)
        #expect(await registry.advance().map(\.name) == ["renamed"])
        await registry.checkerEnded("renamed", .exit(status: 0))
        world.clock.advance(by: .minutes(4))
        #expect(await world.decision(registry) == secret)
    }

    @Test func `a key that goes to another client's name gets no more time, nor does that client`() async throws {
        let world = World()
        let registry = try world.registry([client("a", key: 1)])
        world.clock.advance(by: .minutes(4))
        _ = try await registry.reload([client("a", key: 1), client("b", key: 2)])
        _ = try await registry.reload([client("a", key: 2), client("b", key: 1)])
        world.clock.advance(by: .minutes(1))
        #expect(await world.decision(registry, key: 1) == .refuse(.disabled))
        // As in the reference: a name keeps its time.
        #expect(await world.decision(registry, key: 2) == .refuse(.disabled))
    }
}
