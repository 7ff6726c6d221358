import Glibc
import Logging
import MandosCore
import MandosFormats
import ServiceLifecycle

/// Scheduled work: checking clients, and disabling those that were not seen for too long.
extension Registry {
    /// Checks the clients and disables those whose lease has ended, until a graceful shutdown.
    public func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                while !Task.isShuttingDownGracefully && !Task.isCancelled {
                    for check in advance() {
                        group.addTask { await self.runChecker(check) }
                    }
                    // Nobody waits for it: at the end, least of all.
                    if takeDueSave() { Task { await self.saveUnsaved() } }
                    await wakeUp.wait(for: timeUntilNext())
                }
                isStopping = true
                environment.checkers.killAll()
            }
            await saveAtTheEnd()
        } onGracefulShutdown: {
            self.wakeUp.signal()
        }
    }

    /// The warning about checks that cannot keep up is logged once in this span.
    private static let backlogReportInterval = TimeSpan.minutes(1)

    struct DueCheck: Sendable {
        let name: String
        let command: String
    }

    /// Does everything that is due now.
    ///
    /// - Returns: the checkers to start.
    func advance() -> [DueCheck] {
        let now = environment.now()
        var expired: [String] = []
        while let name = deadlines.popDue(at: now.boot) {
            guard let entry = roster[name] else { continue }
            noticeKeyExpiry(of: entry, at: now.wall)
            var client = entry.client
            if client.hasExpired(at: now.boot) {
                expired.append(name)
            } else {
                if client.isCheckDue(at: now.boot) {
                    client.queueCheck(at: now.boot)
                    checkerQueue.enqueue(name)
                }
                put(client, name)
            }
        }
        if !expired.isEmpty { disableExpired(expired) }
        defer { makeRoom(at: now) }
        return startChecks(at: now)
    }

    /// Whether the client's check is still queued: the client may have been disabled, or got a new lease, meanwhile.
    private func isQueued(_ name: String, at now: BootTime) -> Bool {
        guard let client = roster[name]?.client else { return false }
        return client.isEnabled(at: now) && client.queueDelay(at: now) != nil
    }

    /// Warns, at most once a minute, when checks are queued for longer than their interval.
    ///
    /// Then checkers that have been running for longer than their own interval are killed to make room: no client is
    /// disabled because checkers of other clients hang.
    private func makeRoom(at now: Moment) {
        guard let (client, delay) = longestWaiting(at: now.boot), delay >= Self.longestWait(of: client) else { return }
        // Half of the client's timeout is over: now the longest checkers are killed, however short they have run.
        let isUrgent = delay.milliseconds >= client.settings.timeout.milliseconds / 2
        let overdue = checkerQueue.overdue(at: now.boot) { name in
            isUrgent ? .zero : roster[name]?.client.settings.interval ?? .zero
        }
        for name in overdue { environment.checkers.kill(name) }
        guard nextBacklogReport.map({ $0 <= now.boot }) ?? true else { return }
        nextBacklogReport = now.boot + Self.backlogReportInterval
        environment.log[.checker].warning(
            "checks cannot keep up: give clients a longer interval, or a checker that takes less time",
            metadata: ["waiting": "\(checkerQueue.waitingCount)", "longest.wait": "\(delay.rfc3339)"])
    }

    /// How long a check may be queued before other checkers are killed to make room.
    private static func longestWait(of client: Client) -> TimeSpan {
        min(client.settings.interval, TimeSpan(milliseconds: client.settings.timeout.milliseconds / 2))
    }

    /// When checkers are killed to make room for a check that is queued.
    private var makeRoomAt: BootTime? {
        let now = bootTime
        guard let (client, delay) = longestWaiting(at: now) else { return nil }
        // If no checker could be killed to make room, look again after a second.
        return now + max(Self.longestWait(of: client) - delay, .seconds(1))
    }

    /// The client whose check has been queued for longest, and for how long.
    private func longestWaiting(at now: BootTime) -> (client: Client, delay: TimeSpan)? {
        guard let name = checkerQueue.first(where: { isQueued($0, at: now) }), let client = roster[name]?.client,
            let delay = client.queueDelay(at: now)
        else { return nil }
        return (client, delay)
    }

    /// How long the earliest deadline has been overdue; zero if none is.
    var lateness: TimeSpan { max(.zero, bootTime - (deadlines.next() ?? bootTime)) }

    private func timeUntilNext() -> TimeSpan {
        let next = [deadlines.next(), nextSave, makeRoomAt].compactMap { $0 }.min()
        guard let next else { return .minutes(60) }
        return max(.zero, next - bootTime)
    }

    private func startChecks(at now: Moment) -> [DueCheck] {
        var due: [DueCheck] = []
        while let name = checkerQueue.start(at: now.boot, where: { isQueued($0, at: now.boot) }) {
            guard var client = roster[name]?.client else { continue }
            client.checkStarted(at: now.boot)
            put(client, name)
            due.append(
                DueCheck(
                    name: name,
                    command: client.settings.checker.expanded {
                        client.value(of: $0, at: now, objectPath: path(of: name))
                    }))
        }
        return due
    }

    private func runChecker(_ check: DueCheck) async {
        do {
            publish(about: check.name) { .checkerStarted(path: $0, command: check.command) }
            let ending = try await environment.checkers.run(check.command, for: check.name)
            // A checker that ended by itself before it could be killed counts.
            if isStopping && ending == .signal(SIGKILL) { return }
            publish(about: check.name) { .checkerEnded(path: $0, command: check.command, ending) }
            checkerEnded(check.name, ending)
        } catch {
            if isStopping { return }
            environment.log[.checker].error(
                "checker not started", metadata: ["client.name": "\(check.name)", "reason": "\(error)"])
            change(check.name) { $0.checkFailedToStart(at: environment.now().boot) }
            checkerQueue.ended(check.name)
            wakeUp.signal()
        }
    }

    func checkerEnded(_ name: String, _ ending: TerminationStatus) {
        defer {
            checkerQueue.ended(name)
            wakeUp.signal()
        }
        guard let before = roster[name]?.client else { return }
        environment.log[.checker].debug("checker ended", metadata: ["client.name": "\(name)", "ending": "\(ending)"])
        change(name) { $0.checkEnded(ending, at: environment.now()) }
        // After a restart, the last checker's result decides whether a client whose lease has ended gets a new one:
        // a failure takes that right away.
        if before.lastCheckerStatus?.isSuccess == true && !ending.isSuccess { saveLater([name], within: .zero) }
    }

    func disableExpired(_ names: [String]) {
        for name in names { disableAtOnce(name, because: "not seen for too long") }
    }

    /// Disables a client that is not disabled, and has that saved without delay.
    func disableAtOnce(_ name: String, because reason: String) {
        if let keyID = roster[name]?.configured.keyID, !roster.absent.leftOut.isEmpty {
            saveLater(roster.disableLeftOut(keyID), within: .zero)
        }
        guard var client = roster[name]?.client, client.status != .disabled else { return }
        client.disable()
        environment.checkers.kill(name)
        put(client, name)
        untoldReasons[name] = reason
        saveLater([name], within: .zero)
    }
}
