import Logging
import MandosBus
import MandosCore
import MandosFormats
public import ServiceLifecycle

/// Makes the clients known on the system bus, and answers what is asked there.
///
/// The bus may be absent, or restart: the server goes on without it, and comes back to it by itself.
public struct BusService: Service {
    private let objects: BusObjects
    private let registry: Registry
    private let log: Log

    /// How many events may wait to be told; older ones go, since who is slow wants to know what is now.
    private static let mostEvents = 100_000
    /// How long to wait before the next try; doubled each time.
    private static let shortestPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)

    public init(_ registry: Registry, _ server: ServerFacts, _ log: Log, _ reloader: Reloader) {
        self.registry = registry
        self.log = log
        objects = BusObjects(registry: registry, server: server, log: log) { await reloader.reload() }
    }

    public func run() async throws {
        let logger = log[.dbus]
        await cancelWhenGracefulShutdown {
            var pause = Self.shortestPause
            var lastProblem: String?
            while !Task.isCancelled {
                do throws(BusError) {
                    let host = try await BusHost(name: MandosAPI.busName)
                    logger.notice("on the bus", metadata: ["bus.name": "\(MandosAPI.busName)"])
                    (pause, lastProblem) = (Self.shortestPause, nil)
                    await serve(host)
                    await host.close()
                    if Task.isCancelled { return }
                    logger.warning("the bus is gone; trying to come back to it")
                } catch {
                    // Once, however often it is tried.
                    if lastProblem != error.message {
                        logger.warning("not on the bus; trying again", metadata: ["reason": "\(error)"])
                    }
                    lastProblem = error.message
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    /// Until the bus is lost, or the task is cancelled.
    private func serve(_ host: BusHost) async {
        let (events, happened) = AsyncStream.makeStream(
            of: RegistryEvent.self, bufferingPolicy: .bufferingNewest(Self.mostEvents))
        await registry.observe { happened.yield($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await call in host.calls { await host.answer(call, await objects.answer(call.notice)) }
            }
            group.addTask {
                for await event in events { await tell(event, by: host) }
            }
            await group.next()
            group.cancelAll()
        }
        await registry.observe(with: nil)
    }

    private func tell(_ event: RegistryEvent, by host: BusHost) async {
        let client = MandosAPI.client.name
        let server = MandosAPI.server.name
        let root = MandosAPI.serverPath
        let now = SystemClock.now()
        switch event {
        case .added(let snapshot):
            let path = BusValue.objectPath(snapshot.path)
            let contents = BusObjects.interfacesAndProperties(of: snapshot, at: now)
            await host.emit(root, Interface.objectManager.name, "InterfacesAdded", [path, contents])
            await host.emit(root, server, "ClientAdded", [path])
        case .removed(let name, let path):
            let path = BusValue.objectPath(path)
            await host.emit(root, Interface.objectManager.name, "InterfacesRemoved", [path, .strings([client])])
            await host.emit(root, server, "ClientRemoved", [path, .string(name)])
        case .changed(let old, let new): await tellOfChanges(old.changes(to: new, at: now), new.path, by: host)
        case .checkerStarted(let path, let command):
            await host.emit(path, client, "CheckerStarted", [.string(command)])
        case .checkerEnded(let path, let command, let ending):
            await host.emit(
                path, client, "CheckerCompleted",
                [.int16(ending.busStatus), .int64(ending.waitStatus), .string(command)])
        case .secretSent(let path): await host.emit(path, client, "GotSecret", [])
        case .secretRefused(let path, let refusal):
            await host.emit(path, client, "Rejected", [.string(refusal.busReason)])
        case .approvalNeeded(let path, let span, let isApproved, let address):
            let milliseconds = BusValue.uint64(UInt64(max(0, span.milliseconds)))
            await host.emit(path, client, "NeedApproval", [milliseconds, .boolean(isApproved)])
            await host.emit(
                root, MandosAPI.server1.name, "ApprovalRequested",
                [.objectPath(path), milliseconds, .string(address)])
        case .unknownKey(let keyID, let address):
            let text = keyID.map { String(describing: $0).uppercased() } ?? ""
            await host.emit(root, server, "ClientNotFound", [.string(text), .string(address)])
        }
    }

    private func tellOfChanges(_ changes: [(ClientProperty, BusValue?)], _ path: String, by host: BusHost) async {
        let values = changes.compactMap { property, value in value.map { (property.rawValue, $0) } }
        let invalid = changes.filter { $0.1 == nil }.map(\.0.rawValue)
        if values.isEmpty && invalid.isEmpty { return }
        for (name, value) in values {
            await host.emit(path, MandosAPI.client.name, "PropertyChanged", [.string(name), .variant(value)])
        }
        await host.emit(
            path, Interface.properties.name, "PropertiesChanged",
            [.string(MandosAPI.client.name), .properties(values), .strings(invalid)])
    }
}
