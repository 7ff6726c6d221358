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

    /// `type` is a D-Bus signature.
    public struct Argument: Equatable, Sendable {
        public let name: String
        public let type: String

        init(_ name: String, _ type: String) {
            self.name = name
            self.type = type
        }
    }

    public struct Method: Equatable, Sendable {
        public let name: String
        public let takes: [Argument]
        public let gives: [Argument]
        public let isDeprecated: Bool

        init(_ name: String, takes: [Argument] = [], gives: [Argument] = [], isDeprecated: Bool = false) {
            self.name = name
            self.takes = takes
            self.gives = gives
            self.isDeprecated = isDeprecated
        }
    }

    public struct Signal: Equatable, Sendable {
        public let name: String
        public let carries: [Argument]
        public let isDeprecated: Bool

        init(_ name: String, _ carries: [Argument] = [], isDeprecated: Bool = false) {
            self.name = name
            self.carries = carries
            self.isDeprecated = isDeprecated
        }
    }

    public struct Property: Equatable, Sendable {
        public enum Access: String, Sendable {
            case read
            case write
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
        public let access: Access
        public let changeSignal: ChangeSignal
        public let isDeprecated: Bool

        init(
            _ name: String, _ type: String, _ access: Access = .read, _ changeSignal: ChangeSignal = .withValue,
            isDeprecated: Bool = false
        ) {
            self.name = name
            self.type = type
            self.access = access
            self.changeSignal = changeSignal
            self.isDeprecated = isDeprecated
        }
    }
}
