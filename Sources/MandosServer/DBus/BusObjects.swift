import MandosBus
import MandosCore
import MandosFormats

/// Answers the method calls on the server's D-Bus objects. Source: DBUS-API; docs/DBUS-API.md.
struct BusObjects: Sendable {
    let registry: Registry
    let server: ServerFacts
    let log: Log
    let reload: @Sendable () async -> Result<Void, ReloadFailure>
    let problems: @Sendable () async -> [String]

    func answer(_ notice: BusNotice) async -> Result<[BusValue], BusError> {
        do throws(BusError) {
            let object = try await object(at: notice.path)
            return .success(try await call(notice, of: object, interface(of: notice, object)))
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

    /// The interface of the method that is called. A call may leave it out.
    private func interface(of notice: BusNotice, _ object: Object) throws(BusError) -> Interface {
        if notice.interface.isEmpty {
            let isKnown = { (interface: Interface) in interface.methods.contains { $0.name == notice.member } }
            if let interface = object.interfaces.first(where: isKnown) { return interface }
            throw BusError(.unknownMethod, "\(notice.path) has no method \(notice.member)")
        }
        if let interface = Interface(rawValue: notice.interface), object.interfaces.contains(interface) {
            return interface
        }
        throw BusError(.unknownInterface, "\(notice.path) has no interface \(notice.interface)")
    }

    /// The method that is called; checks the types of its arguments.
    private func method<Method: DeclaredMember>(of notice: BusNotice) throws(BusError) -> Method
    where Method.Declaration == Interface.Method {
        guard let method = Method(rawValue: notice.member) else {
            throw BusError(.unknownMethod, "\(Method.interfaceName) has no method \(notice.member)")
        }
        let takes = method.declaration.takes.map(\.value).joined()
        let given = notice.arguments.map(\.signature).joined()
        if takes == given { return method }
        throw BusError(.invalidArguments, "\(notice.member) takes \"\(takes)\", and was given \"\(given)\"")
    }

    private func call(
        _ notice: BusNotice, of object: Object, _ interface: Interface
    ) async throws(BusError) -> [BusValue] {
        switch interface {
        case .introspectable:
            switch try method(of: notice) as IntrospectableMethod {
            case .introspect: return [.string(await introspection(of: object))]
            }
        case .properties: return try await callProperties(method(of: notice), notice, of: object)
        case .objectManager:
            switch try method(of: notice) as ObjectManagerMethod {
            case .getManagedObjects: return [try await managedObjects()]
            }
        case .server: return try await callServer(method(of: notice), notice.arguments)
        case .server1: return try await callServer1(method(of: notice), notice.arguments)
        case .client:
            if case .client(let name) = object { try await callClient(name, method(of: notice), notice.arguments) }
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
            case .unknown: throw BusError(.unknownObject, "\(failure)")
            case .notSaved, .notSavedYet, .overtaken: throw BusError(.failed, "\(failure)")
            }
        } catch {
            throw BusError(.failed, "\(error)")
        }
    }
}
