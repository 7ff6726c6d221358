import MandosBus
import POSIXKit

/// A client as the server described it.
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

/// The Mandos server on the bus: ours, or the reference.
struct ServerProxy {
    let connection: BusConnection
    private let isTold: Bool

    /// How many clients to ask for at once.
    private static let pageSize: UInt32 = 5000

    /// With `isTold`, calls are shown on standard error.
    init(isTold: Bool) throws(BusError) {
        self.isTold = isTold
        connection = try BusConnection.openSystem()
    }

    func call(
        _ path: String, _ interface: String, _ member: String, _ arguments: [BusValue] = []
    ) throws(BusError) -> [BusValue] {
        if isTold {
            let list = arguments.map(Self.description).joined(separator: ", ")
            complain("mandos-ctl", "D-Bus: \(path) \(interface).\(member)(\(list))")
        }
        return try connection.call(MandosAPI.busName, path, interface, member, arguments)
    }

    /// A secret is nobody's business.
    private static func description(_ value: BusValue) -> String {
        switch value.unwrapped {
        case .bytes(let bytes): "\(bytes.count) bytes"
        // A section has a secret in it.
        case .string(let text): text.contains("\n") ? "\(text.utf8.count) bytes" : "\"\(text)\""
        case .objectPath(let text): text
        case let other: other.integer.map(String.init) ?? other.boolean.map(String.init) ?? other.signature
        }
    }

    // MARK: Clients

    /// All clients, with some of their properties.
    func clients(_ properties: [ClientProperty]) throws(BusError) -> [ClientProxy] {
        do {
            return try pages(properties)
        } catch  where error.isUnknownMember {
            return try managedObjects()
        }
    }

    /// As our server tells it, piece by piece.
    private func pages(_ properties: [ClientProperty]) throws(BusError) -> [ClientProxy] {
        // The name is what to go on after.
        let asked = [.name] + properties.filter { $0 != .name }
        var clients: [ClientProxy] = []
        while true {
            let arguments: [BusValue] = [
                .strings(asked.map(\.rawValue)), .string(clients.last?.name ?? ""), .uint32(Self.pageSize),
            ]
            let page = try call(MandosAPI.serverPath, MandosAPI.server1.name, "ListClients", arguments)
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

    /// As the reference tells it, all at once.
    private func managedObjects() throws(BusError) -> [ClientProxy] {
        let objects = try call(MandosAPI.serverPath, Interface.objectManager.name, "GetManagedObjects")
        let byPath = objects.first?.byName ?? [:]
        var clients: [ClientProxy] = []
        for (path, interfaces) in byPath.sorted(by: { $0.key < $1.key }) {
            guard let values = interfaces.byName?[MandosAPI.client.name]?.byName else { continue }
            let known = values.compactMap { name, value in ClientProperty(rawValue: name).map { ($0, value.unwrapped) }
            }
            clients.append(ClientProxy(path: path, Dictionary(known) { first, _ in first }))
        }
        return clients
    }

    func set(_ property: ClientProperty, to value: BusValue, of client: ClientProxy) throws(BusError) {
        _ = try call(
            client.path, Interface.properties.name, "Set",
            [.string(MandosAPI.client.name), .string(property.rawValue), .variant(value)])
    }

    func answer(_ client: ClientProxy, approved: Bool) throws(BusError) {
        _ = try call(client.path, MandosAPI.client.name, "Approve", [.boolean(approved)])
    }

    func remove(_ client: ClientProxy) throws(BusError) {
        _ = try call(MandosAPI.serverPath, MandosAPI.server.name, "RemoveClient", [.objectPath(client.path)])
    }

    /// Answers each client's request, once there is one.
    func answerWhenAsked(_ clients: [ClientProxy], approved: Bool) throws(BusError) {
        var asking: [String] = []
        var waiting = Dictionary(clients.map { ($0.path, $0) }) { $1 }
        try connection.watch(Self.signals + ",member='NeedApproval'") { asking.append($0.path) }
        // Those that asked before we listened.
        let pending = try self.clients([.approvalPending]).filter { $0[.approvalPending]?.boolean == true }
        asking += pending.map(\.path)
        while !waiting.isEmpty {
            while let path = asking.popLast() {
                guard let client = waiting.removeValue(forKey: path) else { continue }
                try answer(client, approved: approved)
                tell("\(approved ? "approved" : "denied") \(client.name)")
            }
            if waiting.isEmpty { return }
            if try !connection.process() { try connection.wait() }
        }
    }

    static let signals = "type='signal',sender='\(MandosAPI.busName)'"

    // MARK: The server

    func add(_ section: [UInt8]) throws(BusError) {
        guard let text = String(validating: section, as: UTF8.self) else {
            throw BusError(.invalidArguments, "the section is not valid UTF-8; save the file as UTF-8")
        }
        _ = try call(MandosAPI.serverPath, MandosAPI.server1.name, "AddClient", [.string(text)])
    }

    func reload() throws(BusError) { _ = try call(MandosAPI.serverPath, MandosAPI.server1.name, "Reload") }

    struct Status {
        let lines: [String]
        let disabled: Int64
    }

    func status() throws(BusError) -> Status {
        let answer = try call(
            MandosAPI.serverPath, Interface.properties.name, "GetAll", [.string(MandosAPI.server1.name)])
        let values = answer.first?.byName ?? [:]
        func value(_ property: ServerProperty) -> BusValue? { values[property.rawValue]?.unwrapped }
        func counts(_ property: ServerProperty) -> [String: Int64] {
            (value(property)?.byName ?? [:]).compactMapValues(\.integer)
        }
        let clients = counts(.clients)
        let disabled = clients["disabled"] ?? 0
        let interface = value(.interface)?.text ?? ""
        return Status(
            lines: [
                "Version: \(value(.version)?.text ?? "")",
                "Address: \(value(.address)?.text ?? "") port \(value(.port)?.integer ?? 0)"
                    + (interface.isEmpty ? "" : " on \(interface)"),
                "Clients: \(clients["enabled"] ?? 0) enabled, \(disabled) disabled",
                "Secrets sent: \(value(.secretsSent)?.integer ?? 0)",
            ] + counts(.refusals).sorted { $0.key < $1.key }.map { "Refused, \($0.key): \($0.value)" }
                + ["Log levels: \(value(.logLevels)?.text ?? "")"],
            disabled: disabled)
    }

    func greeting() throws(BusError) -> String {
        do {
            return "the server has " + (try status().lines.joined(separator: "; "))
        } catch  where error.isUnknownMember {
            return "a server of the reference implementation answers with \(try clients([.name]).count) clients"
        }
    }

    /// What is wrong, and what to do about it.
    static func explain(_ error: BusError) -> String {
        if error.isNobodyThere {
            return "there is no Mandos server on the bus; see \"systemctl status mandos\", and whether it may use D-Bus"
        }
        if error.name == BusError.StandardName.accessDenied.rawValue { return "\(error); run this as root" }
        if error.isUnknownMember { return "\(error); this server cannot do that" }
        return error.description
    }
}
