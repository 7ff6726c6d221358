import MandosBus
import MandosFormats
import POSIXKit

/// Tells what happens to clients, a line each, until somebody interrupts it.
struct Watch {
    private let server: ServerProxy
    /// Whom to tell of; everybody if empty.
    private let names: Set<String>
    private let asJSON: Bool

    init(_ server: ServerProxy, names: [String], asJSON: Bool) {
        self.server = server
        self.names = Set(names)
        self.asJSON = asJSON
    }

    private struct Event {
        let client: String?
        let name: String
        let facts: [(String, BusValue)]
    }

    func run() throws(BusError) -> Never {
        var notices: [BusNotice] = []
        try server.connection.watch(ServerProxy.signals) { notices.append($0) }
        var nameOfPath: [String: String] = [:]
        for client in try server.clients([.name]) { nameOfPath[client.path] = client.name }
        while true {
            for notice in notices {
                guard let event = event(notice, &nameOfPath) else { continue }
                if !names.isEmpty, !names.contains(event.client ?? "") { continue }
                show(event)
            }
            notices = []
            if try !server.connection.process() { try server.connection.wait() }
        }
    }

    /// nil for what another signal says better.
    private func event(_ notice: BusNotice, _ nameOfPath: inout [String: String]) -> Event? {
        let arguments = notice.arguments
        switch (notice.interface, notice.member) {
        case (MandosAPI.client.name, "PropertyChanged"): return nil
        case (Interface.properties.name, "PropertiesChanged"):
            guard arguments.count == 3, let client = nameOfPath[notice.path] else { return nil }
            let changed = (arguments[1].byName ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
            return Event(client: client, name: "Changed", facts: changed)
        case (Interface.objectManager.name, "InterfacesAdded"):
            let path = arguments.first?.text ?? ""
            guard arguments.count == 2, let values = arguments[1].byName?[MandosAPI.client.name]?.byName else {
                return nil
            }
            nameOfPath[path] = values[ClientProperty.name.rawValue]?.text
            return Event(client: nameOfPath[path], name: "Added", facts: [])
        case (Interface.objectManager.name, "InterfacesRemoved"):
            return Event(
                client: nameOfPath.removeValue(forKey: arguments.first?.text ?? ""), name: "Removed", facts: [])
        case (MandosAPI.client.name, let member):
            let names = MandosAPI.client.signals.first { $0.name == member }?.carries.map(\.name) ?? []
            return Event(client: nameOfPath[notice.path], name: member, facts: Array(zip(names, arguments)))
        case (MandosAPI.server.name, "ClientNotFound"):
            return Event(client: nil, name: "ClientNotFound", facts: Array(zip(["key_id", "address"], arguments)))
        case (MandosAPI.server1.name, "ApprovalRequested"):
            guard arguments.count == 3 else { return nil }
            return Event(
                client: nameOfPath[arguments[0].text ?? ""], name: "ApprovalRequested",
                facts: [("timeout", arguments[1]), ("address", arguments[2])])
        default: return nil
        }
    }

    private func show(_ event: Event) {
        let now = Timestamp(millisecondsSince1970: Clocks.wall).rfc3339
        let line: String
        if asJSON {
            let pairs =
                [("time", BusValue.string(now)), ("event", .string(event.name))]
                + (event.client.map { [("client", .string($0))] } ?? []) + event.facts
            line =
                "{" + pairs.map { "\(ClientJSON.quoted($0.0)): \(ClientJSON.value($0.1))" }.joined(separator: ", ")
                + "}"
        } else {
            let facts = event.facts.map { " \($0.0)=\(ClientJSON.value($0.1))" }.joined()
            line = "\(now) \(event.client.map { ClientJSON.quoted($0) + " " } ?? "")\(event.name)\(facts)"
        }
        // When nobody reads any more, SIGPIPE ends us.
        tell(line)
    }
}
