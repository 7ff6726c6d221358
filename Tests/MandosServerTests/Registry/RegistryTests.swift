import Logging
import MandosCore
import MandosFormats
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import MandosServer

/// Keeps the log.
private final class MemorySink: LogSink {
    let messages = Mutex<[String]>([])
    func write(_ entry: LogEntry) { messages.withLock { $0.append(entry.line) } }
}

/// Checkers that run until the server stops. The one of "lucky" ends by itself at that moment; "a" is killed, and "b" cannot
/// be started any more.
private final class LastCheckers: CheckerRunning {
    struct Stopped: Error {}

    let started = Mutex(0)
    private let (end, ended) = AsyncStream.makeStream(of: Never.self)

    func run(_ command: String, for name: String) async throws -> TerminationStatus {
        started.withLock { $0 += 1 }
        for await _ in end {}
        switch name {
        case "lucky": return .exit(status: 0)
        case "a": return .signal(9)
        default: throw Stopped()
        }
    }

    func kill(_ name: String) {}
    func killAll() { ended.finish() }
}

@Suite struct `The registry` {
    private let secret = SecretDecision.release(Secret(Array("secret".utf8)))

    @Test func `saves every client when it begins, and forgets those that are gone`() async throws {
        let world = World()
        _ = try world.registry(settings("a", "b"))
        #expect(Set(world.store.records.keys) == ["a", "b"])
        _ = try world.registry(settings("b", "c"))
        #expect(Set(world.store.records.keys) == ["b", "c"])
    }

    @Test func `refuses at once when a client's time is over, and makes it durable`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        #expect(await world.decision(registry) == secret)
        world.clock.advance(by: .minutes(5))
        #expect(world.store.records["a"]?.until != nil)
        world.store.hold()
        #expect(await world.decision(registry) == .refuse(.disabled))
        world.store.release()
        await registry.saveWhatIsDue()
        #expect(world.store.records["a"]?.until == nil)
        // A crash now changes nothing.
        #expect(await world.decision(try world.registry(settings("a"))) == .refuse(.disabled))
    }

    @Test func `refuses all the same when the disk is full, and saves when there is room`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        world.store.setFull(true)
        await #expect(throws: Registry.Failure.self) { try await registry.disable("a") }
        #expect(await world.decision(registry) == .refuse(.disabled))
        await #expect(throws: Registry.Failure.self) { try await registry.enable("a") }
        #expect(await world.decision(registry) == .refuse(.disabled), "what cannot be saved is not granted")
        world.store.setFull(false)
        try await registry.disable("a")
        #expect(world.store.records["a"]?.until == nil)
    }

    @Test func `enables a client again, durably`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        try await registry.disable("a")
        #expect(world.checkers.killed.withLock { $0 } == ["a"])
        try await registry.enable("a")
        #expect(await world.decision(registry) == secret)
        #expect(await world.decision(try world.registry(settings("a"))) == secret)
    }

    @Test func `does not begin without its state`() throws {
        struct Broken: StateStore {
            func load() throws(StateStoreError) -> [ClientRecord] { throw StateStoreError("damaged") }
            func commit(_: [ClientRecord], removing _: [String]) throws(StateStoreError) {}
        }
        #expect(throws: StateStoreError.self) {
            try Registry([], .init(store: Broken(), checkers: TestCheckers(), log: Log(LogLevels(), to: [])))
        }
    }

    @Test func `answers who waits for approval as the operator does`() async throws {
        for approved in [true, false] {
            let world = World()
            let registry = try world.registry(settings("a", rest: "approval_delay = PT1H\n"))
            guard case .awaitApproval = await world.decision(registry) else {
                Issue.record("it did not wait")
                continue
            }
            try await registry.answerRequests(of: "a", approved: approved)
            #expect(await world.decision(registry) == (approved ? secret : .refuse(.denied)))
            world.clock.advance(by: .seconds(1))
            guard case .awaitApproval = await world.decision(registry) else {
                Issue.record("the answer held for longer than approval_duration")
                continue
            }
        }
    }

    @Test(arguments: [true, false], ["PT0S", "PT1S"])
    func `settles the requests that wait, however slow the disk is`(approved: Bool, duration: String) async throws {
        let world = World()
        let registry = try world.registry(
            settings("a", rest: "approval_delay = PT12S\napproval_duration = \(duration)\n"))
        let key = KeyID(hexadecimal: String(repeating: "0", count: 63) + "1")
        let waiter = ApprovalWaiter(keyID: key, address: "", since: world.clock.now.boot)
        guard case .awaitApproval = await registry.answer(waiter).decision else {
            Issue.record("it did not wait")
            return
        }
        let clock = world.clock
        world.store.state.withLock { $0.whileCommitting = { clock.advance(by: .seconds(2)) } }
        try await registry.answerRequests(of: "a", approved: approved)
        // Beyond the delay, after which requests are approved by default.
        world.clock.advance(by: .seconds(20))
        #expect(await registry.answer(waiter).decision == (approved ? secret : .refuse(.denied)))
        guard case .awaitApproval = await world.decision(registry) else {
            Issue.record("the answer holds for a later request too")
            return
        }
    }

    @Test func `denies later requests for approval_duration from when the denial is saved`() async throws {
        let world = World()
        let registry = try world.registry(
            settings("a", rest: "approval_delay = PT12S\napproval_duration = PT1S\n"))
        let clock = world.clock
        world.store.state.withLock { $0.whileCommitting = { clock.advance(by: .seconds(2)) } }
        try await registry.answerRequests(of: "a", approved: false)
        #expect(await world.decision(registry) == .refuse(.denied))
    }

    @Test func `has a denial survive a crash, and is told when it cannot`() async throws {
        let world = World()
        let delayed = try settings("a", rest: "timeout = PT2H\napproval_delay = PT1H\napproval_duration = PT10M\n")
        let registry = try world.registry(delayed)
        world.store.setFull(true)
        await #expect(throws: Registry.Failure.self) { try await registry.answerRequests(of: "a", approved: false) }
        #expect(await world.decision(registry) == .refuse(.denied), "it holds all the same")
        world.store.setFull(false)
        try await registry.answerRequests(of: "a", approved: false)
        world.clock.stepWall(by: .minutes(24 * 60))
        world.clock.advance(by: .minutes(4))
        let again = try world.registry(delayed)
        #expect(await world.decision(again) == .refuse(.denied))
        world.clock.advance(by: .minutes(6))
        guard case .awaitApproval = await world.decision(again) else {
            Issue.record("a denial held for longer than approval_duration")
            return
        }
    }

    @Test func `runs checkers, and lets what they show count`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await running(registry) {
            try await waitUntil("two checkers") { world.checkers.started.withLock { $0.count } >= 2 }
        }
        #expect(Set(world.checkers.started.withLock { $0 }) == ["check a", "check b"])
        #expect(await registry.snapshot("a")?.client.lastCheckerStatus == .exit(status: 0))
        #expect(world.store.records["a"]?.lastCheckerStatus == .exit(status: 0), "saved at the end")
    }

    @Test func `goes on when checkers cannot be started`() async throws {
        let world = World()
        world.checkers.ending.withLock { $0 = nil }
        let registry = try world.registry(settings("a"))
        try await running(registry) {
            try await waitUntil("a checker") { world.checkers.started.withLock { !$0.isEmpty } }
        }
        #expect(await world.decision(registry) == secret)
        #expect(await registry.snapshot("a")?.client.lastCheckerStatus == nil)
    }

    @Test func `does not enable a client that comes back, under whatever name, by a reload or a restart`() async throws
    {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.disable("a")
        _ = try await registry.reload(Array(settings("a", "b").dropFirst()))
        _ = try await registry.reload(settings("a", "b"))
        #expect(await world.decision(registry) == .refuse(.disabled), "it was gone for a while")
        _ = try await registry.reload(settings("renamed", "b"))
        #expect(await world.decision(registry) == .refuse(.disabled), "the key is the same")
        let again = try world.registry(settings("another", "b"))
        #expect(await world.decision(again) == .refuse(.disabled))
        #expect(Set(world.store.records.keys) == ["another", "b"])
        try await again.enable("another")
        #expect(await world.decision(again) == secret)
    }

    @Test func `does not enable a client that was removed and comes back under another name`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.remove("a")
        _ = try await registry.reload(settings("renamed", "b"))
        #expect(await world.decision(registry) == .refuse(.disabled))
        #expect(await world.decision(try world.registry(settings("again", "b"))) == .refuse(.disabled))
    }

    @Test(arguments: ["a", "another"])
    func `adds a client with the key of one that had left disabled, but does not enable it`(name: String) async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.disable("a")
        _ = try await registry.reload(Array(settings("a", "b").dropFirst()))
        _ = try await registry.add(section(name))
        #expect(await world.decision(registry) == .refuse(.disabled))
        #expect(Set(world.store.records.keys) == [name, "b"])
        let again = try world.registry(Array(settings("a", "b").dropFirst()))
        #expect(await world.decision(again) == .refuse(.disabled))
        try await again.enable(name)
        _ = try await again.reload(Array(settings("a", "b").dropFirst()))
        #expect(await world.decision(again) == secret, "once an operator has enabled it, it stays so")
        #expect(await world.decision(try world.registry(Array(settings("a", "b").dropFirst()))) == secret)
        #expect(world.store.records[name]?.section != nil)
    }

    @Test func `lists and forgets clients that left while they were disabled`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.disable("a")
        let rest = Array(try settings("a", "b").dropFirst())
        _ = try await registry.reload(rest)
        #expect(await registry.absent.map(\.name) == ["a"])
        await #expect(throws: Registry.Failure.self, "another key under that name") {
            _ = try await registry.add(section("a", key: 7))
        }
        #expect(try await registry.forget("b") == false)
        #expect(try await registry.forget("a"))
        #expect(await registry.absent.isEmpty)
        #expect(Set(world.store.records.keys) == ["b"])
        _ = try await registry.reload(settings("a", "b"))
        #expect(await world.decision(registry) == secret)
    }

    @Test func `keeps a key disabled that another client has now, until an operator enables that`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.disable("a")
        // [b] has the key of [a], which is gone: at a reload, and at a start.
        let adopted = [try ClientSettings.parsing(section("b", checker: "check %%(name)s"))]
        let other = try World().copying(world).registry(adopted)
        #expect(await world.decision(other) == .refuse(.disabled), "at a start")
        _ = try await registry.reload(adopted)
        #expect(await world.decision(registry) == .refuse(.disabled), "at a reload")
        try await registry.enable("b")
        #expect(await world.decision(try world.registry(adopted)) == secret)
    }

    @Test func `keeps what was added when the files are read again`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        _ = try await registry.reload(Array(settings("a", "b").dropFirst()))
        _ = try await registry.add(section("a"))
        _ = try await registry.reload(Array(settings("a", "b").dropFirst()))
        #expect(await world.decision(registry) == secret)
        #expect(world.store.records["a"]?.until != nil)
        #expect(world.store.records["a"]?.section != nil)
    }

    @Test func `gives turns to those that wait, also behind one that was disabled meanwhile`() async throws {
        let world = World()
        let clients = try settings(
            (0...Registry.maximumCheckers + 1).map { "client\($0)" }, rest: "interval = PT1M\n")
        let registry = try world.registry(clients)
        let running = Set(await registry.advance().map(\.name))
        let front = try #require(await registry.checkerQueue.first { _ in true })
        try await registry.disable(front)
        world.clock.advance(by: .seconds(61))
        _ = await registry.advance()
        let killed = world.checkers.killed.withLock { Set($0) }
        #expect(!killed.isDisjoint(with: running), "the checkers that hang make room")
    }

    @Test(arguments: [true, false])
    func `does not take an expired key again when the clock is set back, or after a restart`(isAsked: Bool) async throws
    {
        let world = World()
        let clients = try settings(
            "a", rest: "key_expires = 2027-01-15T09:00:00Z\ntimeout = PT9H\nextended_timeout = PT9H\n")
        let registry = try world.registry(clients)
        #expect(await world.decision(registry) == secret)
        world.clock.stepWall(by: .minutes(24 * 60))
        // It is noticed at a request, or else at a check.
        if isAsked {
            #expect(await world.decision(registry) == .refuse(.keyExpired))
        } else {
            world.clock.advance(by: .minutes(5))
            _ = await registry.advance()
        }
        await registry.saveUnsaved()
        world.clock.stepWall(by: .minutes(-24 * 60))
        #expect(await world.decision(registry) == .refuse(.keyExpired))
        #expect(await world.decision(try world.registry(clients)) == .refuse(.keyExpired))
        let later = try settings("a", rest: "key_expires = 2028-01-15\ntimeout = PT9H\nextended_timeout = PT9H\n")
        _ = try await registry.reload(later)
        #expect(await world.decision(registry) == secret, "an operator gave it more time")
    }

    @Test func `takes two spellings of one name for one name`() async throws {
        let world = World()
        _ = try world.registry(settings("caf\u{E9}"))
        let registry = try world.registry(settings("cafe\u{301}"))
        try await registry.disable("caf\u{E9}")
        #expect(await world.decision(try world.registry(settings("caf\u{E9}"))) == .refuse(.disabled))
    }

    @Test func `says so when checks cannot keep up, and cuts nobody off for that alone`() async throws {
        let world = World()
        let sink = MemorySink()
        let clock = world.clock
        let clients = try settings((0..<300).map { "client\($0)" }, rest: "interval = PT1M\ntimeout = PT5M\n")
        let registry = try Registry(
            clients,
            .init(
                store: world.store, checkers: world.checkers, log: Log(LogLevels(), to: [sink]), now: { clock.now },
                bootID: BootID("test"), jitter: { _ in .zero }))
        // Checkers that hang: nobody's ends.
        #expect(await registry.advance().count == Registry.maximumCheckers)
        clock.advance(by: .seconds(61))
        #expect(await registry.advance().isEmpty)
        let told = sink.messages.withLock { $0.filter { $0.contains("checks cannot keep up") } }
        #expect(told.count == 1)
        #expect(told.first?.contains("waiting=100") == true)
        clock.advance(by: .seconds(30))
        _ = await registry.advance()
        #expect(sink.messages.withLock { $0.count { $0.contains("checks cannot keep up") } } == 1, "not all the time")
        // Those that were checked, without an end, are over after their timeout; those that wait are not.
        clock.advance(by: .seconds(260))
        _ = await registry.advance()
        #expect(await registry.countsByState == ["enabled": 100, "disabled": 200])
    }

    @Test func `keeps the last true results when checkers are killed at the server's end`() async throws {
        let (world, last) = (World(), LastCheckers())
        let sink = MemorySink()
        let names = ["a", "b", "lucky"]
        let clock = world.clock
        let registry = try Registry(
            settings(names),
            .init(
                store: world.store, checkers: last, log: Log(LogLevels(), to: [sink]), now: { clock.now },
                bootID: BootID("test"), jitter: { _ in .zero }))
        try await running(registry) {
            try await waitUntil("three checkers") { last.started.withLock { $0 } == names.count }
        }
        let statuses = names.map { world.store.records[$0]?.lastCheckerStatus }
        #expect(statuses == [nil, nil, .exit(status: 0)])
        #expect(sink.messages.withLock { $0 }.isEmpty)
    }

    /// Runs the registry's loop while `body` waits for what it does.
    private func running(_ registry: Registry, while body: () async throws -> Void) async throws {
        let services = ServiceGroup(
            services: [registry], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        async let end: Void = services.run()
        try await body()
        await services.triggerGracefulShutdown()
        try? await end
    }
}
