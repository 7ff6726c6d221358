import MandosBus

/// The part of avahi-daemon's D-Bus API that announces a service.
///
/// Source: Avahi's org.freedesktop.Avahi.Server.xml and org.freedesktop.Avahi.EntryGroup.xml; states: avahi-common/defs.h.
enum AvahiAPI {
    static let busName = "org.freedesktop.Avahi"
    static let serverPath = "/"
    static let collisionError = "org.freedesktop.Avahi.CollisionError"
}

enum AvahiServerMethod: String, BusMethod {
    case getState = "GetState"
    case entryGroupNew = "EntryGroupNew"
    case getAlternativeServiceName = "GetAlternativeServiceName"

    static let interfaceName = "org.freedesktop.Avahi.Server"
}

enum AvahiGroupMethod: String, BusMethod {
    case addService = "AddService"
    case commit = "Commit"
    case free = "Free"

    static let interfaceName = "org.freedesktop.Avahi.EntryGroup"
}

enum AvahiServerSignal: String, BusSignalName {
    case stateChanged = "StateChanged"

    static let interfaceName = AvahiServerMethod.interfaceName
}

enum AvahiGroupSignal: String, BusSignalName {
    case stateChanged = "StateChanged"

    static let interfaceName = AvahiGroupMethod.interfaceName
}

/// The signals of the bus itself. Source: D-Bus specification, "Message Bus Messages".
enum MessageBusSignal: String, BusSignalName {
    case nameOwnerChanged = "NameOwnerChanged"

    static let interfaceName = "org.freedesktop.DBus"
}

enum AvahiServerState: Int64 {
    case invalid, registering, running, collision, failure
}

enum AvahiGroupState: Int64 {
    case uncommitted, registering, established, collision, failure
}

extension BusNotice {
    /// The state that a signal `StateChanged` reports.
    func state<State: RawRepresentable<Int64>>(_: State.Type = State.self) -> State? {
        arguments.first?.integer.flatMap(State.init(rawValue:))
    }
}
