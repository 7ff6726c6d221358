import MandosCore
import MandosFormats
import Synchronization
import TestSupport
import Testing

@testable import MandosServer

/// What a client may expect, written down once more and as simply as possible: no queue, no database, no actor.
private struct Expected {
    var name: String
    var file: FileSettings
    /// nil if disabled.
    var until: Int64?
    /// Whether a checker runs that was started in this lease.
    var isBeingChecked = false
    var lastCheckWasOK: Bool?
    var approval: (approved: Bool, until: Int64)?

    struct FileSettings: Equatable {
        var timeout: Int64 = 300
        var extendedTimeout: Int64 = 900
        var approvalDelay: Int64 = 0
        var approvedByDefault = true
        var enabled = true
    }

    static let interval: Int64 = 120

    init(_ name: String, _ file: FileSettings, at now: Int64) {
        self.name = name
        self.file = file
        if file.enabled { enable(at: now) }
    }

    mutating func enable(at now: Int64) { until = now + max(file.timeout, Self.interval) }

    mutating func disable() {
        until = nil
        approval = nil
        isBeingChecked = false
    }

    mutating func pass(to now: Int64) {
        if let until, until <= now { disable() }
    }

    mutating func read(_ new: FileSettings, at now: Int64) {
        let old = file
        file = new
        if let end = until { until = end + new.timeout - old.timeout }
        pass(to: now)
        if old.enabled && !new.enabled { disable() }
        if !old.enabled && new.enabled && until == nil { enable(at: now) }
    }

    /// The server was down from then until now.
    mutating func restart(at now: Int64, _ new: FileSettings) {
        // A denial is kept, an approval is not.
        if approval?.approved == true { approval = nil }
        isBeingChecked = false
        let old = file
        file = new
        if old.enabled != new.enabled {
            until = nil
            if new.enabled { enable(at: now) }
            return
        }
        guard let end = until else { return }
        var rest = min(end - now, max(new.timeout, new.extendedTimeout))
        if lastCheckWasOK == true { rest = max(rest <= 0 ? new.timeout : rest, Self.interval) }
        until = rest > 0 ? now + rest : nil
    }

    /// The answer to a request made `waited` seconds ago.
    func answer(waited: Int64, at now: Int64) -> String {
        guard until != nil else { return "disabled" }
        if file.approvalDelay == 0 { return "secret" }
        if let approval, now < approval.until { return approval.approved ? "secret" : "denied" }
        if waited < file.approvalDelay { return "wait" }
        return file.approvedByDefault ? "secret" : "timed out"
    }
}

/// Checkers that the test itself ends.
final class NoCheckers: CheckerRunning {
    let killed = Mutex<Set<String>>([])

    func run(_ command: String, for name: String) async throws -> TerminationStatus { .exit(status: 0) }
    func kill(_ name: String) { killed.withLock { _ = $0.insert(name) } }
    func killAll() {}
}

/// A server, a model of it, and a random history that both go through.
private final class History {
    private static let names = ["a", "b", "c", "d"]

    private var random: SeededGenerator
    private let clock = TestClock()
    private let store = TestStore()
    private let checkers = NoCheckers()
    private var running: Set<String> = []
    private var registry: Registry
    private var clients: [String: Expected] = [:]
    private var files: [String: Expected.FileSettings] = [:]
    /// Those that were disabled when they left the files: they are when they come back.
    private var gone: [String: Expected] = [:]
    private(set) var log: [String] = []

    init(seed: UInt64) throws {
        random = SeededGenerator(seed: seed)
        for name in Self.names.dropLast() { files[name] = Expected.FileSettings() }
        registry = try Self.start(files, clock, store, checkers)
        for (name, file) in files { clients[name] = Expected(name, file, at: 0) }
    }

    private static func start(
        _ files: [String: Expected.FileSettings], _ clock: TestClock, _ store: TestStore, _ checkers: NoCheckers
    ) throws -> Registry {
        try Registry(
            settings(files),
            .init(
                store: store, checkers: checkers, log: Log(LogLevels(), to: []), now: { clock.now },
                bootID: BootID("test"), jitter: { _ in .zero }))
    }

    private static func settings(_ files: [String: Expected.FileSettings]) throws -> [ClientSettings] {
        try files.sorted { $0.key < $1.key }.map { name, file in
            try .parsing(
                section(
                    name, key: key(of: name),
                    """
                    interval = PT\(Expected.interval)S
                    timeout = PT\(file.timeout)S
                    extended_timeout = PT\(file.extendedTimeout)S
                    approval_delay = PT\(file.approvalDelay)S
                    approval_duration = PT10S
                    approved_by_default = \(file.approvedByDefault)
                    enabled = \(file.enabled)
                    """))
        }
    }

    private static func key(of name: String) -> Int { Int(name.utf8.first ?? 0) }

    /// In seconds since the beginning.
    private var now: Int64 { clock.now.boot.milliseconds / 1000 - 1000 }

    /// One event, and then a look at everything.
    func step() async throws {
        let name = Self.names.randomElement(using: &random) ?? "a"
        for name in clients.keys { clients[name]?.pass(to: now) }
        switch Int.random(in: 0..<14, using: &random) {
        case 0, 1, 2:
            let seconds = Int64.random(in: 1...150, using: &random)
            log.append("\(seconds) s pass")
            clock.advance(by: .seconds(seconds))
        case 3:
            // Deadlines are no business of the wall clock.
            let days = Int64.random(in: -1...1, using: &random)
            log.append("the wall clock steps by \(days) days")
            clock.stepWall(by: .seconds(days * 86_400))
        case 4, 5, 6:
            try await check()
            await registry.saveWhatIsDue()
        case 7:
            log.append("\(name) got its secret")
            await registry.secretWasSent(to: waiter(name, since: clock.now.boot))
            if let client = clients[name], client.until != nil {
                clients[name]?.until = now + client.file.extendedTimeout
            }
        case 8:
            let approved = Bool.random(using: &random)
            log.append("\(approved ? "approved" : "denied") \(name)")
            if clients[name] != nil { try await registry.answerRequests(of: name, approved: approved) }
            clients[name]?.approval = (approved, now + 10)
        case 9:
            log.append("disabled \(name)")
            if clients[name] != nil { try await registry.disable(name) }
            clients[name]?.disable()
        case 10:
            log.append("enabled \(name)")
            try await registry.enable(name)
            if clients[name]?.until == nil { clients[name]?.enable(at: now) }
        case 11, 12: try await reload(name)
        default: try await restart(name)
        }
        await endKilledCheckers()
        for name in clients.keys { clients[name]?.pass(to: now) }
        await endKilledCheckers()
        await registry.saveWhatIsDue()
        try await compare()
        await endKilledCheckers()
    }

    /// Checkers start whose turn it is, and one of those that run may end.
    private func check() async throws {
        for check in await registry.advance() {
            log.append("checker of \(check.name) starts")
            running.insert(check.name)
            clients[check.name]?.isBeingChecked = true
        }
        guard let name = running.sorted().randomElement(using: &random), Bool.random(using: &random) else { return }
        running.remove(name)
        let ending =
            [TerminationStatus.exit(status: 0), .exit(status: 0), .exit(status: 1), .signal(9)]
            .randomElement(using: &random) ?? .exit(status: 0)
        log.append("checker of \(name) ends: \(ending)")
        await registry.checkerEnded(name, ending)
        guard let client = clients[name], client.isBeingChecked else { return }
        clients[name]?.isBeingChecked = false
        clients[name]?.lastCheckWasOK = ending.isSuccess
        if ending.isSuccess { clients[name]?.until = now + client.file.timeout }
    }

    private func arrive(_ name: String, _ file: Expected.FileSettings) {
        var client = gone.removeValue(forKey: name)
        client?.restart(at: now, file)
        clients[name] = client ?? Expected(name, file, at: now)
    }

    private func leave(_ name: String) {
        guard var client = clients.removeValue(forKey: name), client.until == nil else { return }
        // Whatever the file said, only an operator enables it.
        client.file.enabled = true
        gone[name] = client
    }

    private func endKilledCheckers() async {
        let killed = checkers.killed.withLock { names in
            defer { names = [] }
            return names
        }
        for name in killed.intersection(running) {
            running.remove(name)
            await registry.checkerEnded(name, .signal(9))
        }
    }

    private func changeFiles(_ name: String) {
        guard Int.random(in: 0..<5, using: &random) > 0, var file = files[name] else {
            files[name] = files[name] == nil ? Expected.FileSettings() : nil
            return
        }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: file.timeout = Int64.random(in: 130...600, using: &random)
        case 1: file.extendedTimeout = Int64.random(in: 1...900, using: &random)
        case 2: file.approvalDelay = file.approvalDelay == 0 ? 60 : 0
        case 3: file.approvedByDefault.toggle()
        default: file.enabled.toggle()
        }
        files[name] = file
    }

    private func reload(_ name: String) async throws {
        changeFiles(name)
        log.append("reloaded: \(list)")
        _ = try await registry.reload(Self.settings(files))
        for name in Self.names {
            if let file = files[name] {
                if clients[name] == nil { arrive(name, file) } else { clients[name]?.read(file, at: now) }
            } else {
                leave(name)
            }
        }
    }

    private func restart(_ name: String) async throws {
        let isCrash = Bool.random(using: &random)
        if !isCrash { await registry.saveUnsaved() }
        changeFiles(name)
        log.append("\(isCrash ? "crashed and " : "")restarted: \(list)")
        registry = try Self.start(files, clock, store, checkers)
        running = []
        for name in Self.names {
            if let file = files[name] {
                if clients[name] == nil { arrive(name, file) } else { clients[name]?.restart(at: now, file) }
            } else {
                leave(name)
            }
            if isCrash { try await takeOver(name) }
        }
    }

    /// A crash may lose what only gives time, or a little of it; it never gives anything back that was taken away.
    private func takeOver(_ name: String) async throws {
        guard let expected = clients[name], let client = await registry.snapshot(name)?.client else { return }
        let wasOK = client.lastCheckerStatus?.isSuccess
        try #require(wasOK != true || expected.lastCheckWasOK == true, "\(name)'s failure is lost; \(story)")
        clients[name]?.lastCheckWasOK = wasOK
        guard case .enabled(let lease) = client.status else {
            clients[name]?.until = nil
            return
        }
        let until = lease.until.milliseconds / 1000 - 1000
        try #require(expected.until != nil, "\(name) was disabled; \(story)")
        try #require(until <= now + max(expected.file.timeout, expected.file.extendedTimeout), "\(name), \(story)")
        clients[name]?.until = until
    }

    private func waiter(_ name: String, since: BootTime) -> ApprovalWaiter {
        ApprovalWaiter(keyID: KeyID(hexadecimal: keyID(Self.key(of: name))), address: "", since: since)
    }

    private var list: String {
        files.sorted { $0.key < $1.key }.map { name, file in
            "\(name) \(file.timeout) \(file.extendedTimeout) \(file.approvalDelay) \(file.approvedByDefault) \(file.enabled)"
        }.joined(separator: ", ")
    }

    private var story: String { "after: " + log.suffix(40).joined(separator: "\n") }

    private func compare() async throws {
        for name in Self.names {
            for waited in [Int64(0), 30, 60] {
                let since = BootTime(milliseconds: clock.now.boot.milliseconds - waited * 1000)
                let waiter = waiter(name, since: since)
                let decision = await registry.answer(waiter).decision
                await registry.requestEnded(waiter)
                let answer =
                    switch decision {
                    case .release: "secret"
                    case .awaitApproval: "wait"
                    case .refuse(.disabled): "disabled"
                    case .refuse(.denied): "denied"
                    case .refuse(.approvalTimedOut): "timed out"
                    case .refuse(.unknownKey): "unknown"
                    case .refuse(let other): other.rawValue
                    }
                let expected = clients[name]?.answer(waited: waited, at: now) ?? "unknown"
                try #require(answer == expected, "\(name) at \(now), \(story)")
            }
            // What was taken away is durable by now.
            await registry.saveWhatIsDue()
            if clients[name]?.until == nil { try #require(store.records[name]?.until == nil, "\(name), \(story)") }
        }
    }
}

@Suite struct `A random history` {
    /// 500 events each; what differs is told with the events that led to it.
    @Test(arguments: 0..<20) func `goes as is expected`(seed: Int) async throws {
        let history = try History(seed: UInt64(seed))
        for _ in 0..<500 { try await history.step() }
    }
}
