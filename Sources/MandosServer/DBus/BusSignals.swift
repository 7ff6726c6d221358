import MandosBus
import MandosCore
import MandosFormats

extension RegistryEvent {
    /// The signals that report the event. Source: DBUS-API, "Signals", and the deprecated ones that the reference still
    /// sends.
    func signals(at now: Moment) -> [BusSignal] {
        let root = MandosAPI.serverPath
        switch self {
        case .added(let snapshot):
            let path = BusValue.objectPath(snapshot.path)
            let added = [path, snapshot.interfacesAndProperties(at: now)]
            return [
                BusSignal(root, ObjectManagerSignal.interfacesAdded, added),
                BusSignal(root, ServerSignal.clientAdded, [path]),
            ]
        case .removed(let name, let path):
            let path = BusValue.objectPath(path)
            return [
                BusSignal(root, ObjectManagerSignal.interfacesRemoved, [path, .strings([Interface.client.name])]),
                BusSignal(root, ServerSignal.clientRemoved, [path, .string(name)]),
            ]
        case .changed(let old, let new, let moment):
            return Self.signals(for: old.changes(to: new, at: moment), new.path)
        case .checkerStarted(let path, let command):
            return [BusSignal(path, ClientSignal.checkerStarted, [.string(command)])]
        case .checkerEnded(let path, let command, let status):
            let arguments: [BusValue] = [.int16(status.busStatus), .int64(status.waitStatus), .string(command)]
            return [BusSignal(path, ClientSignal.checkerCompleted, arguments)]
        case .secretSent(let path): return [BusSignal(path, ClientSignal.gotSecret)]
        case .secretRefused(let path, let refusal):
            return [BusSignal(path, ClientSignal.rejected, [.string(refusal.busReason)])]
        case .approvalNeeded(let path, let span, let isApproved, let address):
            let milliseconds = BusValue.uint64(UInt64(max(0, span.milliseconds)))
            let arguments: [BusValue] = [.objectPath(path), milliseconds, .string(address)]
            return [
                BusSignal(path, ClientSignal.needApproval, [milliseconds, .boolean(isApproved)]),
                BusSignal(root, Server1Signal.approvalRequested, arguments),
            ]
        case .unknownKey(let keyID, let address):
            let text = keyID.map { String(describing: $0).uppercased() } ?? ""
            return [BusSignal(root, ServerSignal.clientNotFound, [.string(text), .string(address)])]
        }
    }

    private static func signals(for changes: [(ClientProperty, BusValue?)], _ path: String) -> [BusSignal] {
        let values = changes.compactMap { property, value in value.map { (property.rawValue, $0) } }
        let invalid = changes.filter { $0.1 == nil }.map(\.0.rawValue)
        if values.isEmpty && invalid.isEmpty { return [] }
        let deprecated = values.map { name, value in
            BusSignal(path, ClientSignal.propertyChanged, [.string(name), .variant(value)])
        }
        let arguments: [BusValue] = [.string(Interface.client.name), .properties(values), .strings(invalid)]
        return deprecated + [BusSignal(path, PropertiesSignal.propertiesChanged, arguments)]
    }
}
