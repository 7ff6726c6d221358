import MandosBus

/// The interface `org.freedesktop.DBus.Properties` of the server's objects.
extension BusObjects {
    func callProperties(
        _ method: PropertiesMethod, _ notice: BusNotice, of object: Object
    ) async throws(BusError) -> [BusValue] {
        let interfaceName = notice.arguments[0].text ?? ""
        guard let interface = Interface(rawValue: interfaceName), object.interfaces.contains(interface) else {
            throw BusError(.unknownInterface, "\(notice.path) has no interface \(interfaceName)")
        }
        func property() throws(BusError) -> ServerObjectProperty {
            let name = notice.arguments[1].text ?? ""
            guard let property = interface.property(name) else {
                throw BusError(.unknownProperty, "\(interfaceName) has no property \(name)")
            }
            return property
        }
        switch method {
        case .getAll: return [.properties(await allValues(of: object, interface))]
        case .get: return [.variant(try await get(property(), of: object, at: notice.path))]
        case .set:
            try await set(property(), to: notice.arguments[2].unwrapped, of: object)
            return []
        }
    }

    private func allValues(of object: Object, _ interface: Interface) async -> [(String, BusValue)] {
        switch (object, interface) {
        case (.client(let name), .client): return await registry.snapshot(name)?.allValues(at: SystemClock.now()) ?? []
        case (.server, .server1):
            var values: [(String, BusValue)] = []
            for property in ServerProperty.allCases { values.append((property.rawValue, await value(of: property))) }
            return values
        case (.client, _), (.server, _), (.clients, _): return []
        }
    }

    private func get(
        _ property: ServerObjectProperty, of object: Object, at path: String
    ) async throws(BusError) -> BusValue {
        let declaration = property.declaration
        guard declaration.access != .write else {
            throw BusError(.accessDenied, "\(declaration.name) cannot be read, only written")
        }
        switch (property, object) {
        case (.server1(let property), _): return await value(of: property)
        case (.client(let property), .client(let name)):
            if let value = await registry.snapshot(name)?.value(of: property, at: SystemClock.now()) { return value }
        case (.client, .server), (.client, .clients): break
        }
        throw BusError(.unknownObject, "there is no object \(path) any more")
    }

    private func set(
        _ property: ServerObjectProperty, to value: BusValue, of object: Object
    ) async throws(BusError) {
        let declaration = property.declaration
        guard declaration.access != .read else {
            throw BusError(.propertyReadOnly, "\(declaration.name) cannot be written")
        }
        // An integer of any type is accepted for a duration.
        guard value.signature == declaration.type || (declaration.type == "t" && value.integer != nil) else {
            throw BusError(
                .invalidArguments, "\(declaration.name) is of type \"\(declaration.type)\", not \"\(value.signature)\"")
        }
        switch (property, object) {
        case (.server1(let property), _): try set(property, to: value)
        case (.client(let property), .client(let name)): try await set(property, to: value, ofClient: name)
        case (.client, .server), (.client, .clients): break
        }
    }
}
