// The members of the interfaces that the D-Bus specification defines under "Standard Interfaces".

public enum IntrospectableMethod: String, BusMethod, DeclaredMember {
    case introspect = "Introspect"

    public static let declaredIn = Interface.introspectable

    public var declaration: Interface.Method {
        switch self {
        case .introspect: .init(name: rawValue, gives: ["xml_data": "s"])
        }
    }
}

public enum PropertiesMethod: String, BusMethod, DeclaredMember {
    case get = "Get"
    case set = "Set"
    case getAll = "GetAll"

    public static let declaredIn = Interface.properties

    public var declaration: Interface.Method {
        switch self {
        case .get: .init(name: rawValue, takes: ["interface_name": "s", "property_name": "s"], gives: ["value": "v"])
        case .set: .init(name: rawValue, takes: ["interface_name": "s", "property_name": "s", "value": "v"])
        case .getAll: .init(name: rawValue, takes: ["interface_name": "s"], gives: ["props": "a{sv}"])
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
                name: rawValue,
                carries: ["interface_name": "s", "changed_properties": "a{sv}", "invalidated_properties": "as"])
        }
    }
}

public enum ObjectManagerMethod: String, BusMethod, DeclaredMember {
    case getManagedObjects = "GetManagedObjects"

    public static let declaredIn = Interface.objectManager

    public var declaration: Interface.Method {
        switch self {
        case .getManagedObjects:
            .init(name: rawValue, gives: ["objpath_interfaces_and_properties": "a{oa{sa{sv}}}"])
        }
    }
}

public enum ObjectManagerSignal: String, BusSignalName, DeclaredMember {
    case interfacesAdded = "InterfacesAdded"
    case interfacesRemoved = "InterfacesRemoved"

    public static let declaredIn = Interface.objectManager

    public var declaration: Interface.Signal {
        switch self {
        case .interfacesAdded:
            .init(name: rawValue, carries: ["object_path": "o", "interfaces_and_properties": "a{sa{sv}}"])
        case .interfacesRemoved: .init(name: rawValue, carries: ["object_path": "o", "interfaces": "as"])
        }
    }
}
