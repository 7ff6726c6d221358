// The members of the interfaces that the D-Bus specification defines under "Standard Interfaces".

public enum IntrospectableMethod: String, BusMethod, DeclaredMember {
    case introspect = "Introspect"

    public static let declaredIn = Interface.introspectable

    public var declaration: Interface.Method {
        switch self {
        case .introspect: .init(rawValue, gives: [.init("xml_data", "s")])
        }
    }
}

public enum PropertiesMethod: String, BusMethod, DeclaredMember {
    case get = "Get"
    case set = "Set"
    case getAll = "GetAll"

    public static let declaredIn = Interface.properties

    public var declaration: Interface.Method {
        let interface = Interface.Argument("interface_name", "s")
        let property = Interface.Argument("property_name", "s")
        let value = Interface.Argument("value", "v")
        return switch self {
        case .get: .init(rawValue, takes: [interface, property], gives: [value])
        case .set: .init(rawValue, takes: [interface, property, value])
        case .getAll: .init(rawValue, takes: [interface], gives: [.init("props", "a{sv}")])
        }
    }
}

public enum PropertiesSignal: String, BusSignalName, DeclaredMember {
    case propertiesChanged = "PropertiesChanged"

    public static let declaredIn = Interface.properties

    public var declaration: Interface.Signal {
        switch self {
        case .propertiesChanged:
            .init(
                rawValue,
                [
                    .init("interface_name", "s"), .init("changed_properties", "a{sv}"),
                    .init("invalidated_properties", "as"),
                ])
        }
    }
}

public enum ObjectManagerMethod: String, BusMethod, DeclaredMember {
    case getManagedObjects = "GetManagedObjects"

    public static let declaredIn = Interface.objectManager

    public var declaration: Interface.Method {
        switch self {
        case .getManagedObjects:
            .init(rawValue, gives: [.init("objpath_interfaces_and_properties", "a{oa{sa{sv}}}")])
        }
    }
}

public enum ObjectManagerSignal: String, BusSignalName, DeclaredMember {
    case interfacesAdded = "InterfacesAdded"
    case interfacesRemoved = "InterfacesRemoved"

    public static let declaredIn = Interface.objectManager

    public var declaration: Interface.Signal {
        let path = Interface.Argument("object_path", "o")
        return switch self {
        case .interfacesAdded: .init(rawValue, [path, .init("interfaces_and_properties", "a{sa{sv}}")])
        case .interfacesRemoved: .init(rawValue, [path, .init("interfaces", "as")])
        }
    }
}
