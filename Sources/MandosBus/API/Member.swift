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

/// A signal of any of the server's interfaces.
public enum ServerObjectSignal: Sendable {
    case properties(PropertiesSignal)
    case objectManager(ObjectManagerSignal)
    case server(ServerSignal)
    case server1(Server1Signal)
    case client(ClientSignal)
}

/// A property of any of the server's interfaces.
public enum ServerObjectProperty: Sendable {
    case server1(ServerProperty)
    case client(ClientProperty)

    public var declaration: Interface.Property {
        switch self {
        case .server1(let property): property.declaration
        case .client(let property): property.declaration
        }
    }
}

extension Interface {
    /// The signal of that name; nil if there is none.
    public func signal(_ name: String) -> ServerObjectSignal? {
        switch self {
        case .introspectable: nil
        case .properties: PropertiesSignal(rawValue: name).map { .properties($0) }
        case .objectManager: ObjectManagerSignal(rawValue: name).map { .objectManager($0) }
        case .server: ServerSignal(rawValue: name).map { .server($0) }
        case .server1: Server1Signal(rawValue: name).map { .server1($0) }
        case .client: ClientSignal(rawValue: name).map { .client($0) }
        }
    }

    public func property(_ name: String) -> ServerObjectProperty? {
        switch self {
        case .introspectable, .properties, .objectManager, .server: nil
        case .server1: ServerProperty(rawValue: name).map { .server1($0) }
        case .client: ClientProperty(rawValue: name).map { .client($0) }
        }
    }
}
