import Glibc
import MandosCore
import MandosFormats
import Synchronization
import TestSupport

@testable import MandosServer

/// A clock that only the test moves.
final class TestClock: Sendable {
    private let passed = Mutex((boot: TimeSpan.zero, wall: TimeSpan.zero))

    var now: Moment {
        let passed = passed.withLock { $0 }
        return Moment(
            boot: BootTime(milliseconds: 1_000_000) + passed.boot,
            wall: Timestamp(millisecondsSince1970: 1_800_000_000_000 + passed.wall.milliseconds))
    }

    func advance(by span: TimeSpan) {
        passed.withLock { $0 = (boot: $0.boot + span, wall: $0.wall + span) }
    }

    /// Somebody sets the clock on the wall.
    func stepWall(by span: TimeSpan) { passed.withLock { $0.wall = $0.wall + span } }
}

/// Something that has happened, or not.
final class Flag: Sendable {
    private let value = Atomic(false)

    func set() { value.store(true, ordering: .releasing) }
    func clear() { value.store(false, ordering: .releasing) }
    var isSet: Bool { value.load(ordering: .acquiring) }
}

/// A disk that can be full.
final class TestStore: StateStore {
    struct State {
        var records: [String: ClientRecord] = [:]
        var isFull = false
        /// Whether commits fail when all is on the disk.
        var failsLate = false
        var commits = 0
        /// What happens while a commit waits for the disk.
        var whileCommitting: @Sendable () -> Void = {}
    }

    let state = Mutex(State())
    private let isHeld = Mutex(false)
    /// Whether a commit is waiting for ``release()``.
    let isWaiting = Flag()

    func load() throws(StateStoreError) -> [ClientRecord] { state.withLock { Array($0.records.values) } }

    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        while isHeld.withLock({ $0 }) {
            isWaiting.set()
            usleep(1000)
        }
        isWaiting.clear()
        try state.withLock { (state) throws(StateStoreError) in
            state.whileCommitting()
            if state.isFull { throw StateStoreError("the disk is full") }
            for record in records { state.records[record.name] = record }
            for name in names { state.records[name] = nil }
            state.commits += 1
            if state.failsLate { throw StateStoreError("the disk is bad") }
        }
    }

    /// Has every commit take until ``release()``.
    func hold() { isHeld.withLock { $0 = true } }
    func release() {
        isHeld.withLock { $0 = false }
    }

    func setFailsLate(_ failsLate: Bool) { state.withLock { $0.failsLate = failsLate } }
    func setFull(_ isFull: Bool) { state.withLock { $0.isFull = isFull } }
    var commits: Int { state.withLock { $0.commits } }
    var records: [String: ClientRecord] { state.withLock { $0.records } }
}

/// Checkers that end as the test says.
final class TestCheckers: CheckerRunning {
    struct Failure: Error {}

    let ending = Mutex<TerminationStatus?>(.exit(status: 0))
    let started = Mutex<[String]>([])
    let killed = Mutex<[String]>([])

    func run(_ command: String, for name: String) async throws -> TerminationStatus {
        started.withLock { $0.append(command) }
        guard let ending = ending.withLock({ $0 }) else { throw Failure() }
        return ending
    }

    func kill(_ name: String) { killed.withLock { $0.append(name) } }
    func killAll() {}
}

func settings(_ names: String..., rest: String = "") throws -> [ClientSettings] {
    try settings(names, rest: rest)
}

func settings(_ names: [String], rest: String = "") throws -> [ClientSettings] {
    try names.enumerated().map { index, name in
        try .parsing(section(name, key: index + 1, checker: "check %%(name)s", rest))
    }
}

struct World {
    let clock = TestClock()
    let store = TestStore()
    let checkers = TestCheckers()

    /// The same saved state, in a world of its own.
    func copying(_ other: World) -> World {
        store.state.withLock { $0.records = other.store.records }
        return self
    }

    func registry(_ settings: [ClientSettings]) throws -> Registry {
        let clock = clock
        return try Registry(
            settings,
            .init(
                store: store, checkers: checkers, log: Log(LogLevels(), to: []),
                now: { clock.now }, bootID: BootID("test"), jitter: { _ in .zero }))
    }

    /// Begins `body`, and waits until its commit waits for the disk.
    func begin(_ body: @escaping @Sendable () async throws -> Void) async throws -> Task<Void, any Error> {
        store.hold()
        let task = Task { try await body() }
        try await waitUntil("a commit") { store.isWaiting.isSet }
        return task
    }

    /// The decision for the client with this key.
    func decision(_ registry: Registry, key: Int = 1) async -> SecretDecision {
        let key = KeyID(hexadecimal: keyID(key))
        let waiter = ApprovalWaiter(keyID: key, address: "", since: clock.now.boot)
        let decision = await registry.answer(waiter).decision
        await registry.requestEnded(waiter)
        return decision
    }
}

extension Registry {
    func disable(_ name: String) async throws { try await disable([name]) }

    /// What the registry's loop does when it is time.
    func saveWhatIsDue() async { if takeDueSave() { await saveUnsaved() } }
}
