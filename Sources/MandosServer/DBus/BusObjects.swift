import MandosBus
import MandosCore
import MandosFormats

/// Answers what is asked over the bus. Source: DBUS-API; docs/DBUS-API.md.
struct BusObjects: Sendable {
    let registry: Registry
    let server: ServerFacts
    let log: Log
    let reload: @Sendable () async -> Result<Void, ReloadFailure>

    /// No page of a list has more clients than this: the bus limits the length of a message.
    static let longestPage = 10_000

    /// No more fit into the longest message, with everything there is to know of each.
    private static let mostManagedObjects = 30_000

    /// Whether others should not have to wait for it.
    static func mayTakeLong(_ notice: BusNotice) -> Bool { notice.member == "Reload" }

    func answer(_ notice: BusNotice) async -> Result<[BusValue], BusError> {
        do {
            let target = try await target(notice.path)
            let interface = try interface(notice, of: target)
            guard let method = interface.method(notice.member) else {
                throw BusError(.unknownMethod, "\(interface.name) has no method \(notice.member)")
            }
            let takes = method.takes.map(\.type).joined()
            let given = notice.arguments.map(\.signature).joined()
            guard takes == given else {
                throw BusError(.invalidArguments, "\(notice.member) takes \"\(takes)\", and was given \"\(given)\"")
            }
            return .success(try await call(notice, on: target, interface))
        } catch let error as BusError {
            return .failure(error)
        } catch {
            return .failure(BusError(.failed, "\(error)"))
        }
    }

    private enum Target {
        case server
        /// What only has children.
        case clients
        case client(String)
    }

    private func target(_ path: String) async throws -> Target {
        if path == MandosAPI.serverPath { return .server }
        if path == MandosAPI.clientsPath { return .clients }
        guard let name = await registry.name(at: path) else {
            throw BusError(.unknownObject, "there is no object \(path)")
        }
        return .client(name)
    }

    private func interfaces(of target: Target) -> [Interface] {
        switch target {
        case .server:
            [.introspectable, .properties, .objectManager, MandosAPI.server, MandosAPI.server1]
        case .clients: [.introspectable]
        case .client: [.introspectable, .properties, MandosAPI.client]
        }
    }

    /// The interface that is meant; a caller may leave out which.
    private func interface(_ notice: BusNotice, of target: Target) throws -> Interface {
        let all = interfaces(of: target)
        if notice.interface.isEmpty {
            guard let found = all.first(where: { $0.method(notice.member) != nil }) else {
                throw BusError(.unknownMethod, "\(notice.path) has no method \(notice.member)")
            }
            return found
        }
        guard let found = all.first(where: { $0.name == notice.interface }) else {
            throw BusError(.unknownInterface, "\(notice.path) has no interface \(notice.interface)")
        }
        return found
    }

    private func call(_ notice: BusNotice, on target: Target, _ interface: Interface) async throws -> [BusValue] {
        switch (target, interface.name) {
        case (_, Interface.introspectable.name): return [.string(await introspection(of: target))]
        case (.server, Interface.objectManager.name): return [try await managedObjects()]
        case (.server, MandosAPI.server.name): return try await callServer(notice)
        case (.server, MandosAPI.server1.name): return try await callServer1(notice)
        case (.client(let name), MandosAPI.client.name): return try await callClient(name, notice)
        case (_, Interface.properties.name): return try await callProperties(notice, on: target)
        default: throw BusError(.unknownMethod, "\(notice.path) has no method \(notice.member)")
        }
    }

    private func introspection(of target: Target) async -> String {
        var children: [String] = []
        switch target {
        case .server: children = ["clients"]
        case .clients:
            let names = await registry.names
            for snapshot in await registry.snapshots(names) {
                children.append(String(snapshot.path.dropFirst(MandosAPI.clientsPath.count + 1)))
            }
        case .client: break
        }
        return Interface.introspection(of: interfaces(of: target), children: children)
    }

    // MARK: The server

    private func managedObjects() async throws -> BusValue {
        guard await registry.count <= Self.mostManagedObjects else {
            throw BusError(
                .limitsExceeded, "there are more clients than fit into one answer; \(MandosAPI.server1.name) lists them"
            )
        }
        let now = SystemClock.now()
        let entries = await registry.snapshots(registry.names).map { snapshot in
            BusEntry(.objectPath(snapshot.path), Self.interfacesAndProperties(of: snapshot, at: now))
        }
        return .dictionary(entries, of: "oa{sa{sv}}")
    }

    static func interfacesAndProperties(of snapshot: ClientSnapshot, at now: Moment) -> BusValue {
        .dictionary(
            [BusEntry(.string(MandosAPI.client.name), .properties(snapshot.allValues(at: now)))], of: "sa{sv}")
    }

    private func callServer(_ notice: BusNotice) async throws -> [BusValue] {
        switch notice.member {
        case "RemoveClient":
            let path = notice.arguments[0].text ?? ""
            guard let name = await registry.name(at: path) else {
                throw BusError(.unknownObject, "there is no client \(path)")
            }
            try await registry.remove(name)
            return []
        case "GetAllClients":
            let paths = await registry.snapshots(registry.names).map { BusValue.objectPath($0.path) }
            return [.array(paths, of: "o")]
        case "GetAllClientsWithProperties":
            let now = SystemClock.now()
            let entries = await registry.snapshots(registry.names).map {
                BusEntry(.objectPath($0.path), .properties($0.allValues(at: now)))
            }
            return [.dictionary(entries, of: "oa{sv}")]
        default: throw BusError(.unknownMethod, "there is no method \(notice.member)")
        }
    }

    private func callServer1(_ notice: BusNotice) async throws -> [BusValue] {
        switch notice.member {
        case "ListClients": return [try await page(notice.arguments)]
        case "AddClient":
            return [.objectPath(try await attempt { try await registry.add(notice.arguments[0].text ?? "") })]
        case "Reload":
            try await reload().get()
            return []
        default: throw BusError(.unknownMethod, "there is no method \(notice.member)")
        }
    }

    /// Some clients after the one named, in order of their names, each with its path and the properties asked for.
    private func page(_ arguments: [BusValue]) async throws -> BusValue {
        let properties = try (arguments[0].elements ?? []).map { name in
            guard let property = ClientProperty(rawValue: name.text ?? ""), property != .secret else {
                throw BusError(.unknownProperty, "a client has no property \(name.text ?? "") to read")
            }
            return property
        }
        let limit = min(Int(arguments[2].integer ?? 0), Self.longestPage)
        let now = SystemClock.now()
        let rows = await registry.snapshots(after: arguments[1].text ?? "", atMost: limit).map { snapshot in
            let values = properties.compactMap { snapshot.value(of: $0, at: now) }.map(BusValue.variant)
            return BusValue.structure([.objectPath(snapshot.path), .array(values, of: "v")])
        }
        return .array(rows, of: "(oav)")
    }

    private func value(of property: ServerProperty) async -> BusValue {
        func counts(_ counts: [(String, Int)]) -> BusValue {
            .dictionary(counts.map { BusEntry(.string($0.0), .uint64(UInt64($0.1))) }, of: "st")
        }
        return switch property {
        case .version: .string(mandosVersion)
        case .address: .string(server.address)
        case .port: .uint32(UInt32(server.port))
        case .interface: .string(server.interface)
        case .logLevels: .string(log.levels.description)
        case .secretsSent: .uint64(UInt64(await registry.counts.secretsSent))
        case .refusals:
            counts(await registry.counts.refusals.map { ($0.key.busReason, $0.value) }.sorted { $0.0 < $1.0 })
        case .clients:
            counts(await registry.countsByState.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 })
        }
    }

    // MARK: A client

    private func callClient(_ name: String, _ notice: BusNotice) async throws -> [BusValue] {
        switch notice.member {
        case "Approve": try await registry.answerRequests(of: name, approved: notice.arguments[0].boolean == true)
        case "CheckedOK": await registry.wasSeen(name)
        case "Enable": try await registry.enable(name)
        case "Disable": try await registry.disable(name)
        case "StartChecker": await registry.startChecker(of: name)
        case "StopChecker": await registry.stopChecker(of: name)
        default: throw BusError(.unknownMethod, "there is no method \(notice.member)")
        }
        return []
    }

    // MARK: Properties

    private func callProperties(_ notice: BusNotice, on target: Target) async throws -> [BusValue] {
        let interfaceName = notice.arguments[0].text ?? ""
        guard let interface = interfaces(of: target).first(where: { $0.name == interfaceName }) else {
            throw BusError(.unknownInterface, "\(notice.path) has no interface \(interfaceName)")
        }
        if notice.member == "GetAll" { return [.properties(try await allValues(of: target, interface))] }
        let propertyName = notice.arguments[1].text ?? ""
        guard let property = interface.property(propertyName) else {
            throw BusError(.unknownProperty, "\(interfaceName) has no property \(propertyName)")
        }
        if notice.member == "Get" {
            guard property.access != .write else {
                throw BusError(.accessDenied, "\(propertyName) cannot be read, only written")
            }
            let value = try await allValues(of: target, interface).first { $0.0 == propertyName }
            guard let value else { throw BusError(.unknownObject, "there is no object \(notice.path) any more") }
            return [.variant(value.1)]
        }
        guard property.access != .read else {
            throw BusError(.propertyReadOnly, "\(propertyName) cannot be written")
        }
        let value = notice.arguments[2].unwrapped
        // A number of another type is meant as one of ours.
        guard value.signature == property.type || (property.type == "t" && value.integer != nil) else {
            throw BusError(
                .invalidArguments, "\(propertyName) is of type \"\(property.type)\", not \"\(value.signature)\"")
        }
        switch target {
        case .client(let name): try await set(property, to: value, of: name)
        case .server, .clients: try setServer(value)
        }
        return []
    }

    private func allValues(of target: Target, _ interface: Interface) async throws -> [(String, BusValue)] {
        switch target {
        case .client(let name) where interface.name == MandosAPI.client.name:
            return await registry.snapshot(name)?.allValues(at: SystemClock.now()) ?? []
        case .server where interface.name == MandosAPI.server1.name:
            var values: [(String, BusValue)] = []
            for property in ServerProperty.allCases { values.append((property.rawValue, await value(of: property))) }
            return values
        case .client, .server, .clients: return []
        }
    }

    private func attempt<Success>(_ body: () async throws -> Success) async throws -> Success {
        do {
            return try await body()
        } catch let failure as Registry.Failure {
            switch failure {
            case .refused, .badSection: throw BusError(.invalidArguments, "\(failure)")
            case .notSaved: throw BusError(.failed, "\(failure)")
            }
        }
    }

    /// The log levels are the only property of the server that can be set.
    private func setServer(_ value: BusValue) throws {
        do throws(LogLevels.SyntaxError) {
            log.levels = try LogLevels(parsing: value.text ?? "")
        } catch {
            throw BusError(.invalidArguments, "\(error)")
        }
    }

    private func set(_ property: Interface.Property, to value: BusValue, of name: String) async throws {
        func change(_ change: SettingChange) async throws {
            try await attempt { try await registry.change(change, of: name) }
        }
        func span() throws -> TimeSpan {
            guard let milliseconds = value.integer, milliseconds >= 0 else {
                throw BusError(.invalidArguments, "\(property.name) is a number of milliseconds, not below 0")
            }
            return TimeSpan(milliseconds: milliseconds)
        }
        switch ClientProperty(rawValue: property.name) {
        case .approvalDelay: try await change(.approvalDelay(span()))
        case .approvalDuration: try await change(.approvalDuration(span()))
        case .extendedTimeout: try await change(.extendedTimeout(span()))
        case .interval: try await change(.interval(span()))
        case .timeout: try await change(.timeout(span()))
        case .approvedByDefault: try await change(.approvedByDefault(value.boolean == true))
        case .checker: try await change(.checker(value.text ?? ""))
        case .host: try await change(.host(value.text ?? ""))
        case .secret:
            guard case .bytes(let bytes) = value else { return }
            try await change(.secret(bytes))
        case .enabled:
            if value.boolean == true { try await registry.enable(name) } else { try await registry.disable(name) }
        case .checkerRunning:
            if value.boolean == true {
                await registry.startChecker(of: name)
            } else {
                await registry.stopChecker(of: name)
            }
        // Whatever the time given is: it was seen now.
        case .lastCheckedOK: await registry.wasSeen(name)
        case .approvalPending, .created, .expires, .fingerprint, .keyID, .lastApprovalRequest, .lastCheckerStatus,
            .lastEnabled, .name, .objectPath, nil:
            throw BusError(.propertyReadOnly, "\(property.name) cannot be written")
        }
    }
}

/// What does not change while the server runs.
public struct ServerFacts: Sendable {
    public let address: String
    public let port: UInt16
    /// Empty if it serves on all.
    public let interface: String

    public init(_ socket: ListeningSocket, interface: String?) {
        address = socket.address
        port = socket.port
        self.interface = interface ?? ""
    }
}
