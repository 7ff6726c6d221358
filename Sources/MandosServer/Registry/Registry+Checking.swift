import Logging
import MandosCore
import MandosFormats
import ServiceLifecycle

/// What is due is done: checks, and the end of clients whose time is over.
extension Registry {
    /// Checks the clients and disables those whose time is over, until a graceful shutdown.
    public func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                while !Task.isShuttingDownGracefully && !Task.isCancelled {
                    for check in advance() {
                        group.addTask { await self.runChecker(check) }
                    }
                    await alarm.wait(for: nextTurn())
                }
                environment.checkers.killAll()
            }
            saveUnsaved()
        } onGracefulShutdown: {
            self.alarm.ring()
        }
    }

    struct DueCheck: Sendable {
        let name: String
        let command: String
    }

    /// Does all that is due now.
    ///
    /// - Returns: the checkers to start.
    func advance() -> [DueCheck] {
        let now = environment.now()
        var expired: [String] = []
        while let name = deadlines.popDue(at: now.boot) {
            guard var client = entries[name]?.client else { continue }
            if client.hasExpired(at: now.boot) {
                expired.append(name)
            } else {
                if client.isCheckDue(at: now.boot) {
                    client.queueCheck(at: now.boot)
                    turns.enqueue(name)
                }
                put(client, name)
            }
        }
        if !expired.isEmpty { disableExpired(expired) }
        if let nextSave, nextSave <= now.boot { saveUnsaved() }
        defer { reportBacklog(at: now) }
        return startChecks(at: now)
    }

    /// Whether its check is still waiting for its turn: it may have been disabled, or begun a new life, meanwhile.
    private func isQueued(_ name: String, at now: BootTime) -> Bool {
        guard let client = entries[name]?.client else { return false }
        return client.isEnabled(at: now) && client.queueDelay(at: now) != nil
    }

    /// Says so, now and then, when checks have to wait for longer than their interval.
    ///
    /// Checkers that have been running for longer than their own interval are ended then, for others to have their turn:
    /// nobody is cut off because somebody else's checkers hang.
    private func reportBacklog(at now: Moment) {
        guard let (client, delay) = longestWaiting(at: now.boot), delay >= Self.patience(of: client) else { return }
        // Half its time is over: then the longest checkers have to go, however short they have been running.
        let isUrgent = delay.milliseconds >= client.settings.timeout.milliseconds / 2
        let overdue = turns.overdue(at: now.boot) { name in
            isUrgent ? .zero : entries[name]?.client.settings.interval ?? .zero
        }
        for name in overdue { environment.checkers.kill(name) }
        guard nextBacklogReport.map({ $0 <= now.boot }) ?? true else { return }
        nextBacklogReport = now.boot + Self.backlogReportInterval
        environment.log[.checker].warning(
            "checks cannot keep up: give clients a longer interval, or a checker that takes less time",
            metadata: ["waiting": "\(turns.waitingCount)", "longest.wait": "\(delay.rfc3339)"])
    }

    /// How long a check may wait for its turn before others have to make room.
    private static func patience(of client: Client) -> TimeSpan {
        min(client.settings.interval, TimeSpan(milliseconds: client.settings.timeout.milliseconds / 2))
    }

    /// When whoever waits for a turn loses patience.
    private var endOfPatience: BootTime? {
        let now = bootTime
        guard let (client, delay) = longestWaiting(at: now) else { return nil }
        // If there is nobody who could make room, look again before long.
        return now + max(Self.patience(of: client) - delay, .seconds(1))
    }

    /// The client that has been waiting for its turn for longest, and for how long.
    private func longestWaiting(at now: BootTime) -> (client: Client, delay: TimeSpan)? {
        guard let name = turns.first(where: { isQueued($0, at: now) }), let client = entries[name]?.client,
            let delay = client.queueDelay(at: now)
        else { return nil }
        return (client, delay)
    }

    /// How long something has been due, and was not done.
    var lateness: TimeSpan { max(.zero, bootTime - (deadlines.next() ?? bootTime)) }

    private func nextTurn() -> TimeSpan {
        let next = [deadlines.next(), nextSave, endOfPatience].compactMap { $0 }.min()
        guard let next else { return .minutes(60) }
        return max(.zero, next - bootTime)
    }

    private func startChecks(at now: Moment) -> [DueCheck] {
        var due: [DueCheck] = []
        while let name = turns.start(at: now.boot, where: { isQueued($0, at: now.boot) }) {
            guard var client = entries[name]?.client else { continue }
            client.checkStarted(at: now.boot)
            put(client, name)
            due.append(
                DueCheck(
                    name: name,
                    command: client.settings.checker.expanded {
                        client.value(of: $0, at: now, objectPath: paths.add(name))
                    }))
        }
        return due
    }

    private func runChecker(_ check: DueCheck) async {
        do {
            tell(of: check.name) { .checkerStarted(path: $0, command: check.command) }
            let ending = try await environment.checkers.run(check.command, for: check.name)
            tell(of: check.name) { .checkerEnded(path: $0, command: check.command, ending) }
            checkerEnded(check.name, ending)
        } catch {
            environment.log[.checker].error(
                "checker not started", metadata: ["client.name": "\(check.name)", "reason": "\(error)"])
            change(check.name) { $0.checkFailedToStart(at: environment.now().boot) }
            turns.ended(check.name)
            alarm.ring()
        }
    }

    func checkerEnded(_ name: String, _ ending: TerminationStatus) {
        defer {
            turns.ended(name)
            alarm.ring()
        }
        guard let before = entries[name]?.client else { return }
        environment.log[.checker].debug("checker ended", metadata: ["client.name": "\(name)", "ending": "\(ending)"])
        change(name) { $0.checkEnded(ending, at: environment.now()) }
        // After a restart the last checker decides whether a client whose time is over gets more of it: a failure
        // takes that right away.
        if before.lastCheckerStatus?.isSuccess == true && !ending.isSuccess { saveUnsaved() }
    }

    func disableExpired(_ names: [String]) {
        let now = environment.now()
        var records: [ClientRecord] = []
        for name in names {
            guard var client = entries[name]?.client else { continue }
            client.disable()
            environment.checkers.kill(name)
            put(client, name)
            records.append(record(of: client, at: now))
        }
        do throws(StateStoreError) {
            try environment.store.commit(records, removing: [])
            unsaved.subtract(names)
        } catch {
            // They stay disabled as long as the server lives; saving is tried again.
            saveLater(names, because: error)
        }
        for name in names { logDisabled(name, "not seen for too long") }
    }

    nonisolated func logDisabled(_ name: String, _ reason: String) {
        environment.log[.checker].warning(
            "client disabled", metadata: ["client.name": "\(name)", "reason": "\(reason)"])
    }
}
