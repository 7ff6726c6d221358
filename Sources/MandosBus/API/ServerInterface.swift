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
        case .removeClient: .init(name: rawValue, takes: ["object_path": "o"])
        case .getAllClients: .init(name: rawValue, gives: ["": "ao"], isDeprecated: true)
        case .getAllClientsWithProperties: .init(name: rawValue, gives: ["": "a{oa{sv}}"], isDeprecated: true)
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
        case .clientNotFound: .init(name: rawValue, carries: ["key_id": "s", "address": "s"])
        case .clientAdded: .init(name: rawValue, carries: ["objpath": "o"])
        case .clientRemoved: .init(name: rawValue, carries: ["objpath": "o", "name": "s"], isDeprecated: true)
        }
    }
}

public enum Server1Method: String, BusMethod, DeclaredMember {
    case listClients = "ListClients"
    case addClient = "AddClient"
    case disableClients = "DisableClients"
    case listAbsentClients = "ListAbsentClients"
    case forgetClient = "ForgetClient"
    case reload = "Reload"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Method {
        switch self {
        case .listClients:
            .init(
                name: rawValue, takes: ["properties": "as", "after": "s", "limit": "u"], gives: ["clients": "a(oav)"])
        case .addClient: .init(name: rawValue, takes: ["section": "s"], gives: ["client": "o"])
        case .disableClients: .init(name: rawValue, takes: ["clients": "ao"])
        case .listAbsentClients: .init(name: rawValue, gives: ["clients": "a(ss)"])
        case .forgetClient: .init(name: rawValue, takes: ["name": "s"])
        case .reload: .init(name: rawValue)
        }
    }
}

public enum Server1Signal: String, BusSignalName, DeclaredMember {
    case approvalRequested = "ApprovalRequested"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Signal {
        switch self {
        case .approvalRequested:
            .init(name: rawValue, carries: ["client": "o", "timeout": "t", "address": "s"])
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
    case problems = "Problems"

    public static let declaredIn = Interface.server1

    public var declaration: Interface.Property {
        switch self {
        case .version, .address, .interface: .init(name: rawValue, type: "s", access: .read, changeSignal: .constant)
        case .port: .init(name: rawValue, type: "u", access: .read, changeSignal: .constant)
        case .logLevels: .init(name: rawValue, type: "s", access: .readWrite, changeSignal: .none)
        case .secretsSent: .init(name: rawValue, type: "t", access: .read, changeSignal: .none)
        // By reason, and by state.
        case .refusals, .clients: .init(name: rawValue, type: "a{st}", access: .read, changeSignal: .none)
        case .problems: .init(name: rawValue, type: "as", access: .read, changeSignal: .none)
        }
    }
}
