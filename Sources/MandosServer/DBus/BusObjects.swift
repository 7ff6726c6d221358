import MandosBus
import MandosCore
import MandosFormats

/// Answers the method calls on the server's D-Bus objects. Source: DBUS-API; docs/DBUS-API.md.
struct BusObjects: Sendable {
    let registry: Registry
    let server: ServerFacts
    let log: Log
    let reload: @Sendable () async -> Result<Void, ReloadFailure>

    /// Whether other calls should be answered meanwhile.
    static func mayTakeLong(_ notice: BusNotice) -> Bool { Server1Method(rawValue: notice.member) == .reload }

    func answer(_ notice: BusNotice) async -> Result<[BusValue], BusError> {
        do throws(BusError) {
            let object = try await object(at: notice.path)
            let method = try method(for: notice, of: object)
            let takes = method.declaration.takes.map(\.type).joined()
            let given = notice.arguments.map(\.signature).joined()
            guard takes == given else {
                throw BusError(.invalidArguments, "\(notice.member) takes \"\(takes)\", and was given \"\(given)\"")
            }
            return .success(try await call(method, notice, of: object))
        } catch {
            return .failure(error)
        }
    }

    enum Object {
        case server
        /// The parent node of the clients.
        case clients
        case client(String)

        var interfaces: [Interface] {
            switch self {
            case .server: [.introspectable, .properties, .objectManager, .server, .server1]
            case .clients: [.introspectable]
            case .client: [.introspectable, .properties, .client]
            }
        }
    }

    private func object(at path: String) async throws(BusError) -> Object {
        if path == MandosAPI.serverPath { return .server }
        if path == MandosAPI.clientsPath { return .clients }
        guard let name = await registry.name(at: path) else {
            throw BusError(.unknownObject, "there is no object \(path)")
        }
        return .client(name)
    }

    /// The method that is called. A call may leave out the interface.
    private func method(for notice: BusNotice, of object: Object) throws(BusError) -> ServerObjectMethod {
        if notice.interface.isEmpty {
            for interface in object.interfaces {
                if let method = ServerObjectMethod(notice.member, of: interface) { return method }
            }
            throw BusError(.unknownMethod, "\(notice.path) has no method \(notice.member)")
        }
        guard let interface = Interface(rawValue: notice.interface), object.interfaces.contains(interface) else {
            throw BusError(.unknownInterface, "\(notice.path) has no interface \(notice.interface)")
        }
        guard let method = ServerObjectMethod(notice.member, of: interface) else {
            throw BusError(.unknownMethod, "\(interface.name) has no method \(notice.member)")
        }
        return method
    }

    private func call(
        _ method: ServerObjectMethod, _ notice: BusNotice, of object: Object
    ) async throws(BusError) -> [BusValue] {
        switch method {
        case .introspectable(.introspect): return [.string(await introspection(of: object))]
        case .properties(let method): return try await call(method, notice, of: object)
        case .objectManager(.getManagedObjects): return [try await managedObjects()]
        case .server(let method): return try await call(method, notice.arguments)
        case .server1(let method): return try await call(method, notice.arguments)
        case .client(let method):
            guard case .client(let name) = object else {
                throw BusError(.unknownMethod, "\(notice.path) has no method \(notice.member)")
            }
            try await call(method, notice.arguments, ofClient: name)
            return []
        }
    }

    private func introspection(of object: Object) async -> String {
        var children: [String] = []
        switch object {
        case .server: children = ["clients"]
        case .clients:
            let names = await registry.names
            for snapshot in await registry.snapshots(names) {
                children.append(String(snapshot.path.dropFirst(MandosAPI.clientsPath.count + 1)))
            }
        case .client: break
        }
        return Interface.introspection(of: object.interfaces, children: children)
    }

    /// Throws the errors of `body` as errors of D-Bus.
    func attempt<Success>(_ body: () async throws -> Success) async throws(BusError) -> Success {
        do {
            return try await body()
        } catch let failure as Registry.Failure {
            switch failure {
            case .refused, .badSection: throw BusError(.invalidArguments, "\(failure)")
            case .notSaved: throw BusError(.failed, "\(failure)")
            }
        } catch {
            throw BusError(.failed, "\(error)")
        }
    }
}
