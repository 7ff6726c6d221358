/// The bus name and the object paths of the server.
public enum MandosAPI {
    public static let busName = "se.recompile.Mandos"
    public static let serverPath = "/"
    public static let clientsPath = "/clients"
}

public enum ServerMethod: String, BusMethod, DeclaredMember {
    case removeClient = "RemoveClient"
    case getAllClients = "GetAllClients"
    case getAllClientsWithProperties = "GetAllClientsWithProperties"

    public static let declaredIn = Interface.server

    public var declaration: Interface.Method {
        switch self {
        case .removeClient: .init(rawValue, takes: [.init("object_path", "o")])
        case .getAllClients: .init(rawValue, gives: [.init("", "ao")], isDeprecated: true)
        case .getAllClientsWithProperties: .init(rawValue, gives: [.init("", "a{oa{sv}}")], isDeprecated: true)
        }
    }
}

public enum ServerSignal: String, BusSignalName, DeclaredMember {
    case clientNotFound = "ClientNotFound"
    case clientAdded = "ClientAdded"
    case clientRemoved = "ClientRemoved"

    public static let declaredIn = Interface.server

    public var declaration: Interface.Signal {
        switch self {
        case .clientNotFound: .init(rawValue, [.init("key_id", "s"), .init("address", "s")])
        case .clientAdded: .init(rawValue, [.init("objpath", "o")])
        case .clientRemoved: .init(rawValue, [.init("objpath", "o"), .init("name", "s")], isDeprecated: true)
        }
    }
}

public enum Server1Method: String, BusMethod, DeclaredMember {
    case listClients = "ListClients"
    case addClient = "AddClient"
    case reload = "Reload"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Method {
        switch self {
        case .listClients:
            .init(
                rawValue, takes: [.init("properties", "as"), .init("after", "s"), .init("limit", "u")],
                gives: [.init("clients", "a(oav)")])
        case .addClient: .init(rawValue, takes: [.init("section", "s")], gives: [.init("client", "o")])
        case .reload: .init(rawValue)
        }
    }
}

public enum Server1Signal: String, BusSignalName, DeclaredMember {
    case approvalRequested = "ApprovalRequested"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Signal {
        switch self {
        case .approvalRequested:
            .init(rawValue, [.init("client", "o"), .init("timeout", "t"), .init("address", "s")])
        }
    }
}

/// The properties of the server, in the interface `Server1`.
public enum ServerProperty: String, DeclaredMember {
    case version = "Version"
    case address = "Address"
    case port = "Port"
    case interface = "Interface"
    case logLevels = "LogLevels"
    case secretsSent = "SecretsSent"
    case refusals = "Refusals"
    case clients = "Clients"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Property {
        switch self {
        case .version, .address, .interface: .init(rawValue, "s", .read, .constant)
        case .port: .init(rawValue, "u", .read, .constant)
        case .logLevels: .init(rawValue, "s", .readWrite, .none)
        case .secretsSent: .init(rawValue, "t", .read, .none)
        // By reason, and by state.
        case .refusals, .clients: .init(rawValue, "a{st}", .read, .none)
        }
    }
}
