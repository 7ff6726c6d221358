/// What an object of ours offers, as data: the server answers by it, and describes itself by it.
///
/// Source: D-Bus specification, "Introspection Data Format".
public struct Interface: Sendable {
    public let name: String
    public let methods: [Method]
    public let signals: [Signal]
    public let properties: [Property]

    public struct Argument: Equatable, Sendable {
        public let name: String
        public let type: String

        init(_ name: String, _ type: String) {
            self.name = name
            self.type = type
        }
    }

    public struct Method: Sendable {
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

    public struct Signal: Sendable {
        public let name: String
        public let carries: [Argument]
        public let isDeprecated: Bool

        init(_ name: String, _ carries: [Argument] = [], isDeprecated: Bool = false) {
            self.name = name
            self.carries = carries
            self.isDeprecated = isDeprecated
        }
    }

    public struct Property: Sendable {
        public enum Access: String, Sendable {
            case read
            case write
            case readWrite = "readwrite"
        }

        /// What `PropertiesChanged` says of it.
        public enum Changes: String, Sendable {
            case told = "true"
            case never = "const"
            case toldWithoutValue = "invalidates"
            /// It does, and nothing is said.
            case untold = "false"
        }

        public let name: String
        public let type: String
        public let access: Access
        public let changes: Changes
        public let isDeprecated: Bool

        init(
            _ name: String, _ type: String, _ access: Access = .read, _ changes: Changes = .told,
            isDeprecated: Bool = false
        ) {
            self.name = name
            self.type = type
            self.access = access
            self.changes = changes
            self.isDeprecated = isDeprecated
        }
    }

    public init(_ name: String, methods: [Method] = [], signals: [Signal] = [], properties: [Property] = []) {
        self.name = name
        self.methods = methods
        self.signals = signals
        self.properties = properties
    }

    public func method(_ name: String) -> Method? { methods.first { $0.name == name } }
    public func property(_ name: String) -> Property? { properties.first { $0.name == name } }
}

extension Interface {
    // What the D-Bus specification defines, under "Standard Interfaces".

    public static let introspectable = Interface(
        "org.freedesktop.DBus.Introspectable",
        methods: [Method("Introspect", gives: [Argument("xml_data", "s")])])

    public static let properties = Interface(
        "org.freedesktop.DBus.Properties",
        methods: [
            Method(
                "Get", takes: [Argument("interface_name", "s"), Argument("property_name", "s")],
                gives: [Argument("value", "v")]),
            Method(
                "Set",
                takes: [Argument("interface_name", "s"), Argument("property_name", "s"), Argument("value", "v")]),
            Method("GetAll", takes: [Argument("interface_name", "s")], gives: [Argument("props", "a{sv}")]),
        ],
        signals: [
            Signal(
                "PropertiesChanged",
                [
                    Argument("interface_name", "s"), Argument("changed_properties", "a{sv}"),
                    Argument("invalidated_properties", "as"),
                ])
        ])

    public static let objectManager = Interface(
        "org.freedesktop.DBus.ObjectManager",
        methods: [
            Method("GetManagedObjects", gives: [Argument("objpath_interfaces_and_properties", "a{oa{sa{sv}}}")])
        ],
        signals: [
            Signal(
                "InterfacesAdded",
                [Argument("object_path", "o"), Argument("interfaces_and_properties", "a{sa{sv}}")]),
            Signal("InterfacesRemoved", [Argument("object_path", "o"), Argument("interfaces", "as")]),
        ])
}

extension Interface {
    /// The XML that describes an object with these interfaces.
    public static func introspection(of interfaces: [Interface], children: [String] = []) -> String {
        let nodes = children.map { "  <node name=\"\($0)\"/>\n" }.joined()
        return """
            <!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
             "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
            <node>
            \(interfaces.map(\.xml).joined())\(nodes)</node>

            """
    }

    private var xml: String {
        let members =
            methods.map { method in
                let arguments =
                    method.takes.map { "<arg name=\"\($0.name)\" type=\"\($0.type)\" direction=\"in\"/>" }
                    + method.gives.map { "<arg name=\"\($0.name)\" type=\"\($0.type)\" direction=\"out\"/>" }
                return Self.element(
                    "method name=\"\(method.name)\"", arguments + Self.deprecation(method.isDeprecated))
            }
            + signals.map { signal in
                Self.element(
                    "signal name=\"\(signal.name)\"",
                    signal.carries.map { "<arg name=\"\($0.name)\" type=\"\($0.type)\"/>" }
                        + Self.deprecation(signal.isDeprecated))
            }
            + properties.map { property in
                Self.element(
                    "property name=\"\(property.name)\" type=\"\(property.type)\" access=\"\(property.access.rawValue)\"",
                    (property.changes == .told
                        ? []
                        : [
                            Self.annotation(
                                "org.freedesktop.DBus.Property.EmitsChangedSignal", property.changes.rawValue)
                        ]) + Self.deprecation(property.isDeprecated))
            }
        return "  <interface name=\"\(name)\">\n" + members.joined() + "  </interface>\n"
    }

    private static func element(_ opening: String, _ contents: [String]) -> String {
        if contents.isEmpty { return "    <\(opening)/>\n" }
        let name = opening.prefix { $0 != " " }
        return "    <\(opening)>\n" + contents.map { "      \($0)\n" }.joined() + "    </\(name)>\n"
    }

    private static func deprecation(_ isDeprecated: Bool) -> [String] {
        isDeprecated ? [annotation("org.freedesktop.DBus.Deprecated", "true")] : []
    }

    private static func annotation(_ name: String, _ value: String) -> String {
        "<annotation name=\"\(name)\" value=\"\(value)\"/>"
    }
}
