/// The D-Bus interfaces of the server's objects: the standard ones, the reference's, and ours (`Server1`).
///
/// Source: D-Bus specification, "Standard Interfaces"; DBUS-API of the reference, and what its Introspect methods answer;
/// docs/DBUS-API.md for `Server1`.
public enum Interface: String, CaseIterable, Sendable {
    case introspectable = "org.freedesktop.DBus.Introspectable"
    case properties = "org.freedesktop.DBus.Properties"
    case objectManager = "org.freedesktop.DBus.ObjectManager"
    case server = "se.recompile.Mandos"
    case server1 = "se.recompile.Mandos.Server1"
    case client = "se.recompile.Mandos.Client"

    public var name: String { rawValue }

    /// In the order of the introspection data, as are ``signals`` and ``properties``.
    public var methods: [Method] {
        switch self {
        case .introspectable: IntrospectableMethod.declarations
        case .properties: PropertiesMethod.declarations
        case .objectManager: ObjectManagerMethod.declarations
        case .server: ServerMethod.declarations
        case .server1: Server1Method.declarations
        case .client: ClientMethod.declarations
        }
    }

    public var signals: [Signal] {
        switch self {
        case .introspectable: []
        case .properties: PropertiesSignal.declarations
        case .objectManager: ObjectManagerSignal.declarations
        case .server: ServerSignal.declarations
        case .server1: Server1Signal.declarations
        case .client: ClientSignal.declarations
        }
    }

    public var properties: [Property] {
        switch self {
        case .introspectable, .properties, .objectManager, .server: []
        case .server1: ServerProperty.declarations
        case .client: ClientProperty.declarations
        }
    }

    /// Names of arguments and their D-Bus signatures.
    public typealias Arguments = KeyValuePairs<String, String>

    public struct Method: Sendable {
        public let name: String
        public var takes: Arguments = [:]
        public var gives: Arguments = [:]
        public var isDeprecated = false
    }

    public struct Signal: Sendable {
        public let name: String
        public var carries: Arguments = [:]
        public var isDeprecated = false
    }

    public struct Property: Sendable {
        public enum Access: String, Sendable {
            case read, write
            case readWrite = "readwrite"
        }

        /// The `EmitsChangedSignal` annotation: what `PropertiesChanged` carries when the value changes.
        public enum ChangeSignal: String, Sendable {
            case withValue = "true"
            case constant = "const"
            case withoutValue = "invalidates"
            /// The value changes without a signal.
            case none = "false"
        }

        public let name: String
        public let type: String
        public var access = Access.read
        public var changeSignal = ChangeSignal.withValue
        public var isDeprecated = false
    }
}
