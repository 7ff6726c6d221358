import MandosBus
import MandosFormats
import POSIXKit

/// A client with the properties that the server listed.
struct ClientProxy {
    let path: String
    private let values: [ClientProperty: BusValue]

    init(path: String, _ values: [ClientProperty: BusValue]) {
        self.path = path
        self.values = values
    }

    subscript(property: ClientProperty) -> BusValue? { values[property] }

    var name: String { self[.name]?.text ?? "" }
}

/// The Mandos server on the bus: this implementation's, or the reference's.
struct ServerProxy {
    let connection: BusConnection
    private let isTracing: Bool

    /// The number of clients to ask for in one call.
    private static let pageSize: UInt32 = 5000

    /// With `isTracing`, prints calls on standard error.
    init(isTracing: Bool) throws(BusError) {
        self.isTracing = isTracing
        connection = try BusConnection.openSystem()
    }

    private func call<Method: BusMethod>(
        _ path: String, _ method: Method, _ arguments: [BusValue] = []
    ) throws(BusError) -> [BusValue] {
        if isTracing {
            let list = arguments.map(Self.description).joined(separator: ", ")
            complain("mandos-ctl", "D-Bus: \(path) \(Method.interfaceName).\(method.rawValue)(\(list))")
        }
        return try connection.call(MandosAPI.busName, path, method, arguments)
    }

    /// A call to the object `/`.
    @discardableResult
    private func callServer(_ method: some BusMethod, _ arguments: BusValue...) throws(BusError) -> [BusValue] {
        try call(MandosAPI.serverPath, method, arguments)
    }

    /// Secrets are never printed.
    private static func description(_ value: BusValue) -> String {
        switch value.unwrapped {
        case .bytes(let bytes): "\(bytes.count) bytes"
        // A section of several lines contains a secret.
        case .string(let text): text.contains("\n") ? "\(text.utf8.count) bytes" : "\"\(text)\""
        case .objectPath(let text): text
        case .int16, .uint16, .int32, .uint32, .int64, .uint64, .boolean, .double, .array, .dictionary, .structure,
            .variant:
            value.integer.map(String.init) ?? value.boolean.map(String.init) ?? value.unwrapped.signature
        }
    }

    // MARK: Clients

    /// Lists all clients with some of their properties.
    func clients(_ properties: [ClientProperty]) throws(BusError) -> [ClientProxy] {
        do {
            return try pages(properties)
        } catch  where error.isUnknownMember {
            return try managedObjects()
        }
    }

    /// Lists the clients of a server of this implementation, page by page.
    private func pages(_ properties: [ClientProperty]) throws(BusError) -> [ClientProxy] {
        // The next page begins after the last name.
        let asked = [.name] + properties.filter { $0 != .name }
        var clients: [ClientProxy] = []
        while true {
            let page = try callServer(
                Server1Method.listClients, .strings(asked.map(\.rawValue)), .string(clients.last?.name ?? ""),
                .uint32(Self.pageSize))
            let rows = page.first?.elements ?? []
            for row in rows {
                guard let fields = row.elements, fields.count == 2, let values = fields[1].elements else { continue }
                clients.append(
                    ClientProxy(
                        path: fields[0].text ?? "",
                        Dictionary(zip(asked, values.map(\.unwrapped))) { first, _ in first }))
            }
            if rows.count < Self.pageSize { return clients }
        }
    }

    /// Lists the clients of the reference's server, all at once.
    private func managedObjects() throws(BusError) -> [ClientProxy] {
        let objects = try callServer(ObjectManagerMethod.getManagedObjects)
        let byPath = objects.first?.byName ?? [:]
        var clients: [ClientProxy] = []
        for (path, interfaces) in byPath.sorted(by: { $0.key < $1.key }) {
            guard let values = interfaces.byName?[Interface.client.name]?.byName else { continue }
            let known = values.compactMap { name, value in
                ClientProperty(rawValue: name).map { ($0, value.unwrapped) }
            }
            clients.append(ClientProxy(path: path, Dictionary(known) { first, _ in first }))
        }
        return clients
    }

    func set(_ property: ClientProperty, to value: BusValue, of client: ClientProxy) throws(BusError) {
        _ = try call(
            client.path, PropertiesMethod.set,
            [.string(Interface.client.name), .string(property.rawValue), .variant(value)])
    }

    func answer(_ client: ClientProxy, approved: Bool) throws(BusError) {
        _ = try call(client.path, ClientMethod.approve, [.boolean(approved)])
    }

    func remove(_ client: ClientProxy) throws(BusError) {
        try callServer(ServerMethod.removeClient, .objectPath(client.path))
    }

    /// Waits for a request of each client and answers it.
    func answerWhenAsked(_ clients: [ClientProxy], approved: Bool) throws(BusError) {
        var asking: [String] = []
        var waiting = Dictionary(clients.map { ($0.path, $0) }) { $1 }
        try connection.watch(Self.signals + ",member='\(ClientSignal.needApproval.rawValue)'") {
            asking.append($0.path)
        }
        // These asked before the watch began.
        let pending = try self.clients([.approvalPending]).filter { $0[.approvalPending]?.boolean == true }
        asking += pending.map(\.path)
        while !waiting.isEmpty {
            while let path = asking.popLast() {
                guard let client = waiting.removeValue(forKey: path) else { continue }
                try answer(client, approved: approved)
                tell("\(approved ? "approved" : "denied") \(singleLine(client.name))")
            }
            if waiting.isEmpty { return }
            if try !connection.process() { try connection.wait() }
        }
    }

    /// A match rule for all signals of the server.
    static let signals = "type='signal',sender='\(MandosAPI.busName)'"

    // MARK: The server

    /// Adds a client; tells its name, and whether it is enabled.
    func add(_ section: [UInt8]) throws(BusError) -> (name: String, isEnabled: Bool) {
        guard let text = String(validating: section, as: UTF8.self) else {
            throw BusError(.invalidArguments, "the section is not valid UTF-8; save the file as UTF-8")
        }
        let path = try callServer(Server1Method.addClient, .string(text)).first?.text ?? ""
        let answer = try call(path, PropertiesMethod.getAll, [.string(Interface.client.name)])
        let values = answer.first?.byName ?? [:]
        return (
            values[ClientProperty.name.rawValue]?.unwrapped.text ?? "",
            values[ClientProperty.enabled.rawValue]?.unwrapped.boolean == true
        )
    }

    /// Disables clients all at once.
    ///
    /// - Returns: false if the server cannot do that, or a client is gone.
    func disable(_ clients: [ClientProxy]) throws(BusError) -> Bool {
        do throws(BusError) {
            let paths = clients.map { BusValue.objectPath($0.path) }
            try callServer(Server1Method.disableClients, .array(paths, of: "o"))
            return true
        } catch {
            guard error.isUnknownMember else { throw error }
            return false
        }
    }

    /// Name and key ID of each client that left while it was disabled.
    func absentClients() throws(BusError) -> [(name: String, keyID: String)] {
        let rows = try callServer(Server1Method.listAbsentClients).first?.elements ?? []
        return rows.map { ($0.elements?.first?.text ?? "", $0.elements?.last?.text ?? "") }
    }

    func forget(_ name: String) throws(BusError) { try callServer(Server1Method.forgetClient, .string(name)) }

    func reload() throws(BusError) { try callServer(Server1Method.reload) }

    struct Status {
        let lines: [String]
        /// Whether all clients are enabled, and no operator has to do anything.
        let isGood: Bool
    }

    func status() throws(BusError) -> Status {
        let answer = try callServer(PropertiesMethod.getAll, .string(Interface.server1.name))
        let values = answer.first?.byName ?? [:]
        func value(_ property: ServerProperty) -> BusValue? { values[property.rawValue]?.unwrapped }
        func counts(_ property: ServerProperty) -> [String: Int64] {
            (value(property)?.byName ?? [:]).compactMapValues(\.integer)
        }
        let clients = counts(.clients)
        let disabled = clients["disabled"] ?? 0
        let problems = (value(.problems)?.elements ?? []).compactMap(\.text)
        let interface = value(.interface)?.text ?? ""
        return Status(
            lines: [
                "Version: \(value(.version)?.text ?? "")",
                "Address: \(value(.address)?.text ?? "") port \(value(.port)?.integer ?? 0)"
                    + (interface.isEmpty ? "" : " on \(interface)"),
                "Clients: \(clients["enabled"] ?? 0) enabled, \(disabled) disabled",
                "Secrets sent: \(value(.secretsSent)?.integer ?? 0)",
            ] + counts(.refusals).sorted { $0.key < $1.key }.map { "Refused, \($0.key): \($0.value)" }
                + ["Log levels: \(value(.logLevels)?.text ?? "")"] + problems.map { "Problem: \($0)" },
            isGood: disabled == 0 && problems.isEmpty)
    }

    func greeting() throws(BusError) -> String {
        do {
            return "the server has " + (try status().lines.joined(separator: "; "))
        } catch  where error.isUnknownMember {
            return "a server of the reference implementation answers with \(try clients([.name]).count) clients"
        }
    }

    /// The error, with advice.
    static func explain(_ error: BusError) -> String {
        if error.isNameWithoutOwner {
            return "there is no Mandos server on the bus; see \"systemctl status mandos\", and whether it may use D-Bus"
        }
        if error.name == BusError.StandardName.accessDenied.rawValue { return "\(error); run this as root" }
        if error.isUnknownMember { return "\(error); this server cannot do that" }
        return error.description
    }
}
