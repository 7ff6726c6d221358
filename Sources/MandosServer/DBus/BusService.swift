import DequeModule
import Logging
import MandosBus
import MandosCore
import MandosFormats
import POSIXKit
public import ServiceLifecycle
import Synchronization

/// Makes the clients known on the system bus, and answers what is asked there.
///
/// The bus may be absent, or restart: the server goes on without it, and comes back to it by itself.
public struct BusService: Service {
    private let objects: BusObjects
    private let registry: Registry
    private let log: Log

    /// How long to wait before the next try; doubled each time.
    private static let shortestPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)

    public init(_ registry: Registry, _ server: ServerFacts, _ log: Log, _ reloader: Reloader) {
        self.registry = registry
        self.log = log
        objects = BusObjects(registry: registry, server: server, log: log) {
            // At the end we go before the reloader does.
            (try? await abandonable { await reloader.reload() }) ?? .failure(.stopping)
        }
    }

    public func run() async throws {
        let logger = log[.dbus]
        await cancelWhenGracefulShutdown {
            var pause = Self.shortestPause
            var lastProblem: String?
            while !Task.isCancelled {
                do {
                    // A bus that takes us, and then says nothing, is not waited for at the end.
                    let host = try await abandonable { try await BusHost.open(name: MandosAPI.busName) }
                    logger.notice("on the bus", metadata: ["bus.name": "\(MandosAPI.busName)"])
                    (pause, lastProblem) = (Self.shortestPause, nil)
                    await serve(host)
                    await host.close()
                    if Task.isCancelled { return }
                    logger.warning("the bus is gone; trying to come back to it")
                } catch {
                    // Once, however often it is tried.
                    if lastProblem != "\(error)" && !Task.isCancelled {
                        logger.warning("not on the bus; trying again", metadata: ["reason": "\(error)"])
                    }
                    lastProblem = "\(error)"
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    /// Until the bus is lost, or the task is cancelled.
    private func serve(_ host: BusHost) async {
        let events = EventQueue()
        await registry.subscribe { events.append($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await withDiscardingTaskGroup { slow in
                    for await call in host.calls {
                        if BusObjects.mayTakeLong(call.notice) {
                            slow.addTask { await answer(call, on: host) }
                        } else {
                            await answer(call, on: host)
                        }
                    }
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    let happened = await events.next()
                    let now = SystemClock.now()
                    await host.emit(happened.flatMap { Self.signals(for: $0, at: now) })
                }
            }
            await group.next()
            group.cancelAll()
        }
        await registry.subscribe(nil)
    }

    private func answer(_ call: BusHost.Call, on host: BusHost) async {
        let result = await objects.answer(call.notice)
        await host.answer(call, result)
        if Self.isLong(result) { returnFreeMemory() }
    }

    private static func isLong(_ result: Result<[BusValue], BusError>) -> Bool {
        ((try? result.get()) ?? []).reduce(0) { $0 + $1.longestSize } > 1 << 20
    }

    /// Source: DBUS-API, "Signals", and the deprecated ones that the reference still sends.
    private static func signals(for event: RegistryEvent, at now: Moment) -> [BusSignal] {
        let client = MandosAPI.client
        let server = MandosAPI.server
        let root = MandosAPI.serverPath
        switch event {
        case .added(let snapshot):
            let path = BusValue.objectPath(snapshot.path)
            let contents = BusObjects.interfacesAndProperties(of: snapshot, at: now)
            return [
                BusSignal(root, .objectManager, "InterfacesAdded", [path, contents]),
                BusSignal(root, server, "ClientAdded", [path]),
            ]
        case .removed(let name, let path):
            let path = BusValue.objectPath(path)
            return [
                BusSignal(root, .objectManager, "InterfacesRemoved", [path, .strings([client.name])]),
                BusSignal(root, server, "ClientRemoved", [path, .string(name)]),
            ]
        case .changed(let old, let new, let moment):
            return signals(for: old.changes(to: new, at: moment), new.path)
        case .checkerStarted(let path, let command):
            return [BusSignal(path, client, "CheckerStarted", [.string(command)])]
        case .checkerEnded(let path, let command, let ending):
            let arguments: [BusValue] = [.int16(ending.busStatus), .int64(ending.waitStatus), .string(command)]
            return [BusSignal(path, client, "CheckerCompleted", arguments)]
        case .secretSent(let path): return [BusSignal(path, client, "GotSecret")]
        case .secretRefused(let path, let refusal):
            return [BusSignal(path, client, "Rejected", [.string(refusal.busReason)])]
        case .approvalNeeded(let path, let span, let isApproved, let address):
            let milliseconds = BusValue.uint64(UInt64(max(0, span.milliseconds)))
            let arguments: [BusValue] = [.objectPath(path), milliseconds, .string(address)]
            return [
                BusSignal(path, client, "NeedApproval", [milliseconds, .boolean(isApproved)]),
                BusSignal(root, MandosAPI.server1, "ApprovalRequested", arguments),
            ]
        case .unknownKey(let keyID, let address):
            let text = keyID.map { String(describing: $0).uppercased() } ?? ""
            return [BusSignal(root, server, "ClientNotFound", [.string(text), .string(address)])]
        }
    }

    private static func signals(for changes: [(ClientProperty, BusValue?)], _ path: String) -> [BusSignal] {
        let values = changes.compactMap { property, value in value.map { (property.rawValue, $0) } }
        let invalid = changes.filter { $0.1 == nil }.map(\.0.rawValue)
        if values.isEmpty && invalid.isEmpty { return [] }
        let deprecated = values.map { name, value in
            BusSignal(path, MandosAPI.client, "PropertyChanged", [.string(name), .variant(value)])
        }
        let arguments: [BusValue] = [.string(MandosAPI.client.name), .properties(values), .strings(invalid)]
        return deprecated + [BusSignal(path, .properties, "PropertiesChanged", arguments)]
    }
}

/// What happened and is not told yet.
private final class EventQueue: Sendable {
    /// Beyond this older ones go: who is slow wants to know what is now.
    private static let longest = 100_000
    /// To wake up for each of many would cost more than to tell of it.
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

    /// Everything that has happened, as soon as something has; nothing if the task is cancelled.
    func next() async -> [RegistryEvent] {
        await wakeUp.wait(for: .minutes(60))
        try? await Task.sleep(for: Self.pause)
        return waiting.withLock { waiting in
            defer { waiting = [] }
            return Array(waiting)
        }
    }
}
