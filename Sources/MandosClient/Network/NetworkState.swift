import MandosFormats

/// How far the network has come up: decides when to bring up interfaces and when to try servers again. Pure: does no input
/// or output.
struct NetworkState: ~Copyable {
    enum Action: Equatable {
        case bringUp(interface: UInt32)
        /// Tell the helper that the interfaces run, or will not: kernel messages may show on the console again.
        case reportSettled
        /// Servers that were out of reach may be reachable now.
        case retryServers
    }

    private enum Phase {
        case runningHooks
        /// Interfaces come up. Until the deadline, servers are expected to be out of reach.
        case startingInterfaces(deadline: BootTime)
        /// All interfaces run; until the deadline, servers may still be out of reach.
        case running(deadline: BootTime)
        case settled
    }

    private let selection: InterfaceSelection
    private let delay: Int64
    private var phase = Phase.runningHooks
    /// Indices of the interfaces that were brought up; each is brought up once only.
    private var broughtUp: [UInt32] = []
    /// Interfaces that could not be brought up, and when to try again.
    private var failed: [(interface: UInt32, retry: BootTime)] = []
    /// How long to wait before trying to bring up an interface again, in milliseconds: its firmware may come later.
    private static let pause: Int64 = 1000

    /// `delay` is how long interfaces may take to run, in milliseconds.
    init(selection: InterfaceSelection, delay: Int64) {
        self.selection = selection
        self.delay = delay
    }

    /// Whether servers may be asked: the hooks have run.
    var isReady: Bool {
        if case .runningHooks = phase { false } else { true }
    }

    /// Until when interfaces may come up; nil before and after that.
    var deadline: BootTime? {
        switch phase {
        case .startingInterfaces(let deadline), .running(let deadline): deadline
        case .runningHooks, .settled: nil
        }
    }

    /// When to try again to bring up an interface.
    var nextStart: BootTime? { failed.map { $0.retry }.min() }

    /// The helper could not bring up an interface.
    mutating func startFailed(_ interface: UInt32, at now: BootTime) {
        broughtUp.removeAll { $0 == interface }
        failed.removeAll { $0.interface == interface }
        failed.append((interface, now.after(milliseconds: Self.pause)))
    }

    /// The helper has run the hooks, or has ended.
    mutating func hooksEnded(at now: BootTime) {
        if case .runningHooks = phase { phase = .startingInterfaces(deadline: now.after(milliseconds: delay)) }
    }

    /// Decides what to do now. `hasChanged` tells that interfaces, addresses or the helper have changed since the last call.
    mutating func advance(
        hasChanged: Bool, interfaces: () -> [NetworkInterface], at now: BootTime
    ) -> [Action] {
        guard isReady else { return [] }
        let isDue = nextStart.map { $0 <= now } ?? false
        failed.removeAll { $0.retry <= now }
        var actions = hasChanged || isDue ? bringUp(interfaces()) : []
        let deadlineHasPassed = deadline.map { $0 <= now } ?? false
        switch phase {
        case .startingInterfaces(let deadline):
            if deadlineHasPassed {
                phase = .settled
                actions.append(.reportSettled)
            } else if areRunning(interfaces()) {
                phase = .running(deadline: deadline)
                actions.append(.reportSettled)
            }
        case .running: if deadlineHasPassed { phase = .settled }
        case .runningHooks, .settled: break
        }
        return hasChanged || deadlineHasPassed ? actions + [.retryServers] : actions
    }

    private mutating func bringUp(_ interfaces: [NetworkInterface]) -> [Action] {
        let down = interfaces.filter { interface in
            !interface.isUp && selection.bringsUp(interface) && !broughtUp.contains(interface.index)
                && !failed.contains { $0.interface == interface.index }
        }
        broughtUp += down.map { $0.index }
        return down.map { .bringUp(interface: $0.index) }
    }

    /// Whether there is an interface to use, and all of them run.
    private func areRunning(_ interfaces: [NetworkInterface]) -> Bool {
        let used = interfaces.filter { selection.uses($0) }
        return !used.isEmpty && used.allSatisfy { $0.isRunning }
    }
}
