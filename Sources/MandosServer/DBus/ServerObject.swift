import MandosBus
import MandosCore
import MandosFormats

/// The address of the server, which does not change while it runs.
public struct ServerFacts: Sendable {
    public let address: String
    public let port: UInt16
    /// Empty for all interfaces.
    public let interface: String

    public init(_ socket: ListeningSocket, interface: String?) {
        address = socket.address
        port = socket.port
        self.interface = interface ?? ""
    }
}

/// The object `/`.
extension BusObjects {
    /// The limit of clients in one answer of `ListClients`: the bus limits the length of a message.
    private static let longestPage = 10_000

    /// The number of clients, with all properties, that surely fit into one message.
    private static let maximumManagedObjects = 30_000

    func managedObjects() async throws(BusError) -> BusValue {
        guard await registry.count <= Self.maximumManagedObjects else {
            throw BusError(
                .limitsExceeded, "there are more clients than fit into one answer; \(Interface.server1.name) lists them"
            )
        }
        let now = SystemClock.now()
        let entries = await registry.snapshots(registry.names).map { snapshot in
            BusEntry(.objectPath(snapshot.path), snapshot.interfacesAndProperties(at: now))
        }
        return .dictionary(entries, of: "oa{sa{sv}}")
    }

    func callServer(_ method: ServerMethod, _ arguments: [BusValue]) async throws(BusError) -> [BusValue] {
        switch method {
        case .removeClient:
            let name = try await name(at: arguments[0].text ?? "")
            try await attempt { try await registry.remove(name) }
            return []
        case .getAllClients:
            let paths = await registry.snapshots(registry.names).map { BusValue.objectPath($0.path) }
            return [.array(paths, of: "o")]
        case .getAllClientsWithProperties:
            let now = SystemClock.now()
            let entries = await registry.snapshots(registry.names).map {
                BusEntry(.objectPath($0.path), .properties($0.allValues(at: now)))
            }
            return [.dictionary(entries, of: "oa{sv}")]
        }
    }

    func callServer1(_ method: Server1Method, _ arguments: [BusValue]) async throws(BusError) -> [BusValue] {
        switch method {
        case .listClients: return [try await page(arguments)]
        case .addClient:
            return [.objectPath(try await attempt { try await registry.add(arguments[0].text ?? "") })]
        case .disableClients:
            let paths = (arguments[0].elements ?? []).map { $0.text ?? "" }
            try await attempt { try await registry.disable(paths: paths) }
            return []
        case .listAbsentClients:
            let rows = await registry.absent.map { record in
                BusValue.structure([.string(record.name), .string(record.keyID.map(String.init(describing:)) ?? "")])
            }
            return [.array(rows, of: "(ss)")]
        case .forgetClient:
            let name = arguments[0].text ?? ""
            guard try await attempt({ try await registry.forget(name) }) else {
                throw BusError(.invalidArguments, "there is no absent client \(name)")
            }
            return []
        case .reload:
            try await attempt { try await reload().get() }
            return []
        }
    }

    private func name(at path: String) async throws(BusError) -> String {
        guard let name = await registry.name(at: path) else {
            throw BusError(.unknownObject, "there is no client \(path)")
        }
        return name
    }

    /// Lists clients after a given one, in order of their names, each with its path and the properties asked for.
    private func page(_ arguments: [BusValue]) async throws(BusError) -> BusValue {
        let properties = try (arguments[0].elements ?? []).map { (name) throws(BusError) in
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

    // MARK: Properties

    func value(of property: ServerProperty) async -> BusValue {
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
        case .problems: .strings(await problems())
        }
    }

    func set(_ property: ServerProperty, to value: BusValue) throws(BusError) {
        switch property {
        case .logLevels:
            do throws(LogLevels.SyntaxError) {
                log.levels = try LogLevels(parsing: value.text ?? "")
            } catch {
                throw BusError(.invalidArguments, "\(error)")
            }
        case .version, .address, .port, .interface, .secretsSent, .refusals, .clients, .problems:
            throw BusError(.propertyReadOnly, "\(property.rawValue) cannot be written")
        }
    }
}
