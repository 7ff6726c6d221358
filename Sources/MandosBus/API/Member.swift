/// The members of one kind (methods, signals or properties) of one D-Bus interface; a raw value is a member's name.
public protocol BusMember: RawRepresentable<String>, CaseIterable, Sendable {
    static var interfaceName: String { get }
}

/// Methods, of our server or of another program.
public protocol BusMethod: BusMember {}

/// Signals, of our server or of another program.
public protocol BusSignalName: BusMember {}

extension BusSignalName {
    /// The signal that was received; nil if it is of another interface, or unknown.
    public init?(_ notice: BusNotice) {
        guard notice.interface == Self.interfaceName else { return nil }
        self.init(rawValue: notice.member)
    }
}

/// Members of the server's objects, with their types.
public protocol DeclaredMember: BusMember {
    associatedtype Declaration
    static var declaredIn: Interface { get }
    var declaration: Declaration { get }
}

extension DeclaredMember {
    public static var interfaceName: String { declaredIn.name }
    static var declarations: [Declaration] { allCases.map(\.declaration) }
}

/// A method of any of the server's interfaces.
public enum ServerObjectMethod: Sendable {
    case introspectable(IntrospectableMethod)
    case properties(PropertiesMethod)
    case objectManager(ObjectManagerMethod)
    case server(ServerMethod)
    case server1(Server1Method)
    case client(ClientMethod)

    /// nil if `interface` has no such method.
    public init?(_ name: String, of interface: Interface) {
        let method: Self? =
            switch interface {
            case .introspectable: IntrospectableMethod(rawValue: name).map(Self.introspectable)
            case .properties: PropertiesMethod(rawValue: name).map(Self.properties)
            case .objectManager: ObjectManagerMethod(rawValue: name).map(Self.objectManager)
            case .server: ServerMethod(rawValue: name).map(Self.server)
            case .server1: Server1Method(rawValue: name).map(Self.server1)
            case .client: ClientMethod(rawValue: name).map(Self.client)
            }
        guard let method else { return nil }
        self = method
    }

    public var declaration: Interface.Method {
        switch self {
        case .introspectable(let method): method.declaration
        case .properties(let method): method.declaration
        case .objectManager(let method): method.declaration
        case .server(let method): method.declaration
        case .server1(let method): method.declaration
        case .client(let method): method.declaration
        }
    }
}

/// A signal of any of the server's interfaces.
public enum ServerObjectSignal: Sendable {
    case properties(PropertiesSignal)
    case objectManager(ObjectManagerSignal)
    case server(ServerSignal)
    case server1(Server1Signal)
    case client(ClientSignal)

    /// nil if no interface of the server has such a signal.
    public init?(_ notice: BusNotice) {
        let signal: Self? =
            switch Interface(rawValue: notice.interface) {
            case .properties: PropertiesSignal(notice).map(Self.properties)
            case .objectManager: ObjectManagerSignal(notice).map(Self.objectManager)
            case .server: ServerSignal(notice).map(Self.server)
            case .server1: Server1Signal(notice).map(Self.server1)
            case .client: ClientSignal(notice).map(Self.client)
            case .introspectable, nil: nil
            }
        guard let signal else { return nil }
        self = signal
    }
}

/// A property of any of the server's interfaces.
public enum ServerObjectProperty: Sendable {
    case server1(ServerProperty)
    case client(ClientProperty)

    /// nil if `interface` has no such property.
    public init?(_ name: String, of interface: Interface) {
        let property: Self? =
            switch interface {
            case .server1: ServerProperty(rawValue: name).map(Self.server1)
            case .client: ClientProperty(rawValue: name).map(Self.client)
            case .introspectable, .properties, .objectManager, .server: nil
            }
        guard let property else { return nil }
        self = property
    }

    public var declaration: Interface.Property {
        switch self {
        case .server1(let property): property.declaration
        case .client(let property): property.declaration
        }
    }
}
