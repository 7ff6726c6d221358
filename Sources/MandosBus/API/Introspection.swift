extension Interface {
    /// The XML that describes an object with these interfaces. Source: D-Bus specification, "Introspection Data Format".
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
        let members = methods.map(\.xml) + signals.map(\.xml) + properties.map(\.xml)
        return "  <interface name=\"\(name)\">\n" + members.joined() + "  </interface>\n"
    }
}

extension Interface.Method {
    fileprivate var xml: String {
        element("method name=\"\(name)\"", arguments(takes, "in") + arguments(gives, "out") + deprecation(isDeprecated))
    }
}

extension Interface.Signal {
    fileprivate var xml: String {
        element("signal name=\"\(name)\"", arguments(carries) + deprecation(isDeprecated))
    }
}

extension Interface.Property {
    fileprivate var xml: String {
        let emits = annotation("org.freedesktop.DBus.Property.EmitsChangedSignal", changeSignal.rawValue)
        return element(
            "property name=\"\(name)\" type=\"\(type)\" access=\"\(access.rawValue)\"",
            (changeSignal == .withValue ? [] : [emits]) + deprecation(isDeprecated))
    }
}

private func arguments(_ arguments: Interface.Arguments, _ direction: String? = nil) -> [String] {
    let end = direction.map { " direction=\"\($0)\"/>" } ?? "/>"
    return arguments.map { "<arg name=\"\($0.key)\" type=\"\($0.value)\"\(end)" }
}

private func element(_ opening: String, _ contents: [String]) -> String {
    if contents.isEmpty { return "    <\(opening)/>\n" }
    let name = opening.prefix { $0 != " " }
    return "    <\(opening)>\n" + contents.map { "      \($0)\n" }.joined() + "    </\(name)>\n"
}

private func deprecation(_ isDeprecated: Bool) -> [String] {
    isDeprecated ? [annotation("org.freedesktop.DBus.Deprecated", "true")] : []
}

private func annotation(_ name: String, _ value: String) -> String {
    "<annotation name=\"\(name)\" value=\"\(value)\"/>"
}
