import MandosBus
import MandosFormats
import POSIXKit

/// Prints events of clients, a line each, until it is interrupted.
struct Watch {
    private let server: ServerProxy
    /// The clients to report; empty for all.
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

    /// nil for a signal that another one reports better.
    private func event(_ notice: BusNotice, _ nameOfPath: inout [String: String]) -> Event? {
        let arguments = notice.arguments
        switch Interface(rawValue: notice.interface)?.signal(notice.member) {
        case .properties(.propertiesChanged):
            guard arguments.count == 3, let client = nameOfPath[notice.path] else { return nil }
            let changed = (arguments[1].byName ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
            return Event(client: client, name: "Changed", facts: changed)
        case .objectManager(.interfacesAdded):
            let path = arguments.first?.text ?? ""
            guard arguments.count == 2, let values = arguments[1].byName?[Interface.client.name]?.byName else {
                return nil
            }
            nameOfPath[path] = values[ClientProperty.name.rawValue]?.text
            return Event(client: nameOfPath[path], name: "Added", facts: [])
        case .objectManager(.interfacesRemoved):
            return Event(
                client: nameOfPath.removeValue(forKey: arguments.first?.text ?? ""), name: "Removed", facts: [])
        case .client(.propertyChanged), .server(.clientAdded), .server(.clientRemoved), nil: return nil
        case .client(let signal):
            return Event(
                client: nameOfPath[notice.path], name: signal.rawValue, facts: facts(signal.declaration, arguments))
        case .server(let signal):
            return Event(client: nil, name: signal.rawValue, facts: facts(signal.declaration, arguments))
        case .server1(let signal):
            // The first argument is the client's path.
            guard let path = arguments.first?.text else { return nil }
            return Event(
                client: nameOfPath[path], name: signal.rawValue,
                facts: Array(facts(signal.declaration, arguments).dropFirst()))
        }
    }

    private func facts(_ signal: Interface.Signal, _ arguments: [BusValue]) -> [(String, BusValue)] {
        Array(zip(signal.carries.map(\.key), arguments))
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
        // If the reader has ended, SIGPIPE ends this program.
        tell(line)
    }
}
