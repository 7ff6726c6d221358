import Glibc
import MandosCore
import MandosFormats
import Synchronization

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

/// A disk that can be full.
final class TestStore: StateStore {
    struct State {
        var records: [String: ClientRecord] = [:]
        var isFull = false
        var commits = 0
        /// What happens while a commit waits for the disk.
        var whileCommitting: @Sendable () -> Void = {}
    }

    let state = Mutex(State())
    private let isHeld = Mutex(false)
    /// Whether a commit is waiting for ``release()``.
    let isWaiting = Atomic(false)

    func load() throws(StateStoreError) -> [ClientRecord] { state.withLock { Array($0.records.values) } }

    func commit(_ records: [ClientRecord], removing names: [String]) throws(StateStoreError) {
        while isHeld.withLock({ $0 }) {
            isWaiting.store(true, ordering: .releasing)
            usleep(1000)
        }
        isWaiting.store(false, ordering: .releasing)
        try state.withLock { (state) throws(StateStoreError) in
            state.whileCommitting()
            if state.isFull { throw StateStoreError("the disk is full") }
            for record in records { state.records[record.name] = record }
            for name in names { state.records[name] = nil }
            state.commits += 1
        }
    }

    /// Has every commit take until ``release()``.
    func hold() { isHeld.withLock { $0 = true } }
    func release() {
        isHeld.withLock { $0 = false }
    }

    func setFull(_ isFull: Bool) { state.withLock { $0.isFull = isFull } }
    var commits: Int { state.withLock { $0.commits } }
    var records: [String: ClientRecord] { state.withLock { $0.records } }
}

extension Registry {
    func disable(_ name: String) async throws { try await disable([name]) }

    /// What the registry's loop does when it is time.
    func saveWhatIsDue() async { if takeDueSave() { await saveUnsaved() } }
}
