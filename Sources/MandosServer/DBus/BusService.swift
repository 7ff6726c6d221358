import DequeModule
import Logging
import MandosBus
import MandosCore
import MandosFormats
import POSIXKit
public import ServiceLifecycle
import Synchronization

/// Serves the D-Bus interface on the system bus.
///
/// The bus may be absent or restart: the server works without it and reconnects by itself.
public struct BusService: Service {
    private let objects: BusObjects
    private let registry: Registry
    private let log: Log

    /// Before connecting again, in milliseconds.
    private static let longestPause: Int64 = 30_000

    public init(_ registry: Registry, _ server: ServerFacts, _ log: Log, _ reloader: Reloader) {
        self.registry = registry
        self.log = log
        objects = BusObjects(
            registry: registry, server: server, log: log,
            reload: {
                // At shutdown this service ends before the reloader does.
                (try? await abandonable { await reloader.reload() }) ?? .failure(.stopping)
            }, problems: { await reloader.problems })
    }

    public func run() async {
        let logger = log[.dbus]
        await cancelWhenGracefulShutdown {
            var pauses = Backoff(first: 1000, longest: Self.longestPause, most: .max)
            var lastProblem: String?
            while !Task.isCancelled {
                do {
                    // Abandonable: shutdown does not wait for a bus that accepts the connection but never answers.
                    let host = try await abandonable { try await BusHost.open(name: MandosAPI.busName) }
                    logger.notice("on the bus", metadata: ["bus.name": "\(MandosAPI.busName)"])
                    pauses.reset()
                    lastProblem = nil
                    await serve(host)
                    await host.close()
                    if Task.isCancelled { return }
                    logger.warning("connection to the bus lost; connecting again")
                } catch {
                    // Each problem is logged once, not at every try.
                    if lastProblem != "\(error)" && !Task.isCancelled {
                        logger.warning("not on the bus; trying again", metadata: ["reason": "\(error)"])
                    }
                    lastProblem = "\(error)"
                }
                try? await Task.sleep(for: .milliseconds(pauses.next() ?? Self.longestPause))
            }
        }
    }

    /// Returns when the connection is lost or the task is cancelled.
    private func serve(_ host: BusHost) async {
        let events = EventQueue()
        await registry.subscribe { events.append($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                let order = CallOrder()
                for await call in host.calls {
                    order.begin(call.notice.sender) { await answer(call, on: host) }
                }
            }
            group.addTask {
                async let _: Void = announceClients()
                while !Task.isCancelled {
                    let happened = await events.next()
                    let now = SystemClock.now()
                    await host.emit(happened.flatMap { $0.signals(at: now) })
                }
            }
            await group.next()
            group.cancelAll()
        }
        await registry.subscribe(nil)
    }

    /// How many clients are announced at once, and the pause after them: other events, and whoever else uses the bus, wait no
    /// longer. 100,000 clients take less than two minutes.
    private static let sliceSize = 100
    private static let slicePause = Duration.milliseconds(100)

    /// Reports all clients as new: a mandos-monitor of the reference that was there before us learns of them in no other way.
    ///
    /// The signals go through the queue of all events, so that a client that is removed meanwhile is not announced after that.
    /// Nobody can know whether somebody listens.
    private func announceClients() async {
        var names = (await registry.unsortedNames)[...]
        while !names.isEmpty && !Task.isCancelled {
            await registry.announce(names.prefix(Self.sliceSize))
            names = names.dropFirst(Self.sliceSize)
            try? await Task.sleep(for: Self.slicePause)
        }
    }

    private func answer(_ call: BusHost.Call, on host: BusHost) async {
        let result = await objects.answer(call.notice)
        await host.answer(call, result)
        if Self.isLong(result) { returnFreeMemory() }
    }

    private static func isLong(_ result: Result<[BusValue], BusError>) -> Bool {
        ((try? result.get()) ?? []).reduce(0) { $0 + $1.longestSize } > 1 << 20
    }
}

/// Answers the calls of one sender in their order, and those of different senders side by side: one may wait for the disk while
/// another wants to know who is enabled, or disables a client.
private final class CallOrder: Sendable {
    private struct Last {
        let number: Int
        let task: Task<Void, Never>
    }

    private struct State {
        var lastOfSender: [String: Last] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    func begin(_ sender: String, _ body: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            state.count += 1
            let (number, before) = (state.count, state.lastOfSender[sender]?.task)
            let task = Task {
                await before?.value
                await body()
                self.end(sender, number)
            }
            state.lastOfSender[sender] = Last(number: number, task: task)
        }
    }

    private func end(_ sender: String, _ number: Int) {
        state.withLock { state in
            if state.lastOfSender[sender]?.number == number { state.lastOfSender[sender] = nil }
        }
    }
}

/// Events that were not reported on the bus yet.
private final class EventQueue: Sendable {
    /// Beyond this limit, drops the oldest events: a slow reader needs the current state.
    private static let longest = 100_000
    /// Collects events for this long: waking up for each of many would cost more than sending its signals.
    private static let pause = Duration.milliseconds(20)

    private let waiting = Mutex<Deque<RegistryEvent>>([])
    private let wakeUp = WakeUp()

    func append(_ event: RegistryEvent) {
        let isFirst = waiting.withLock { waiting in
            defer { waiting.append(event) }
            if waiting.count == Self.longest { waiting.removeFirst() }
            return waiting.isEmpty
        }
        if isFirst { wakeUp.signal() }
    }

    /// Waits for the next event and returns all waiting ones; none if the task is cancelled.
    func next() async -> [RegistryEvent] {
        await wakeUp.wait(for: .minutes(60))
        try? await Task.sleep(for: Self.pause)
        return waiting.withLock { waiting in
            defer { waiting = [] }
            return Array(waiting)
        }
    }
}
