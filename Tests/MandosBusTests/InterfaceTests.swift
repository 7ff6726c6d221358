import Testing

@testable import MandosBus

@Suite struct `The interfaces of the server's objects` {
    /// One line for each member. `Server1` is ours; the others are the reference's, as its objects introspect.
    static let members: [(Interface, String)] = [
        (.introspectable, "method Introspect() -> (s xml_data)"),
        (
            .properties,
            """
            method Get(s interface_name, s property_name) -> (v value)
            method Set(s interface_name, s property_name, v value) -> ()
            method GetAll(s interface_name) -> (a{sv} props)
            signal PropertiesChanged(s interface_name, a{sv} changed_properties, as invalidated_properties)
            """
        ),
        (
            .objectManager,
            """
            method GetManagedObjects() -> (a{oa{sa{sv}}} objpath_interfaces_and_properties)
            signal InterfacesAdded(o object_path, a{sa{sv}} interfaces_and_properties)
            signal InterfacesRemoved(o object_path, as interfaces)
            """
        ),
        (
            .server,
            """
            method RemoveClient(o object_path) -> ()
            method GetAllClients() -> (ao ) deprecated
            method GetAllClientsWithProperties() -> (a{oa{sv}} ) deprecated
            signal ClientNotFound(s key_id, s address)
            signal ClientAdded(o objpath)
            signal ClientRemoved(o objpath, s name) deprecated
            """
        ),
        (
            .server1,
            """
            method ListClients(as properties, s after, u limit) -> (a(oav) clients)
            method AddClient(s section) -> (o client)
            method DisableClients(ao clients) -> ()
            method ListAbsentClients() -> (a(ss) clients)
            method ForgetClient(s name) -> ()
            method Reload() -> ()
            signal ApprovalRequested(o client, t timeout, s address)
            property Version s read const
            property Address s read const
            property Port u read const
            property Interface s read const
            property LogLevels s readwrite false
            property SecretsSent t read false
            property Refusals a{st} read false
            property Clients a{st} read false
            property Problems as read false
            """
        ),
        (
            .client,
            """
            method Approve(b value) -> ()
            method CheckedOK() -> ()
            method Enable() -> () deprecated
            method Disable() -> () deprecated
            method StartChecker() -> () deprecated
            method StopChecker() -> () deprecated
            signal CheckerCompleted(n exitcode, x waitstatus, s command)
            signal CheckerStarted(s command)
            signal GotSecret()
            signal NeedApproval(t timeout, b default)
            signal Rejected(s reason)
            signal PropertyChanged(s property, v value) deprecated
            property ApprovalDelay t readwrite true
            property ApprovalDuration t readwrite true
            property ApprovalPending b read true
            property ApprovedByDefault b readwrite true
            property Checker s readwrite true
            property CheckerRunning b readwrite true
            property Created s read const
            property Enabled b readwrite true
            property Expires s read true
            property ExtendedTimeout t readwrite true
            property Fingerprint s read const
            property Host s readwrite true
            property Interval t readwrite true
            property KeyID s read const
            property LastApprovalRequest s read true
            property LastCheckedOK s readwrite true
            property LastCheckerStatus n read true
            property LastEnabled s read true
            property Name s read const
            property ObjectPath o read const deprecated
            property Secret ay write invalidates
            property Timeout t readwrite true
            """
        ),
    ]

    private func text(_ arguments: Interface.Arguments) -> String {
        "(" + arguments.map { "\($0.value) \($0.key)" }.joined(separator: ", ") + ")"
    }

    @Test(arguments: members) func `have these members, in this order`(interface: Interface, expected: String) {
        func note(_ isDeprecated: Bool) -> String { isDeprecated ? " deprecated" : "" }
        let lines =
            interface.methods.map { "method \($0.name)\(text($0.takes)) -> \(text($0.gives))\(note($0.isDeprecated))" }
            + interface.signals.map { "signal \($0.name)\(text($0.carries))\(note($0.isDeprecated))" }
            + interface.properties.map {
                "property \($0.name) \($0.type) \($0.access.rawValue) \($0.changeSignal.rawValue)\(note($0.isDeprecated))"
            }
        #expect(lines.joined(separator: "\n") == expected)
    }

    @Test(arguments: [
        (Interface.introspectable, "org.freedesktop.DBus.Introspectable"),
        (.properties, "org.freedesktop.DBus.Properties"), (.objectManager, "org.freedesktop.DBus.ObjectManager"),
        (.server, "se.recompile.Mandos"), (.server1, "se.recompile.Mandos.Server1"),
        (.client, "se.recompile.Mandos.Client"),
    ])
    func `have the reference's names`(interface: Interface, name: String) { #expect(interface.name == name) }

    @Test(arguments: Interface.allCases) func `find each signal and property by its name, and no other`(
        interface: Interface
    ) {
        for property in interface.properties {
            #expect(interface.property(property.name)?.declaration.name == property.name)
        }
        for signal in interface.signals {
            #expect(interface.signal(signal.name) != nil)
        }
        for name in ["Fly", "", "gotSecret"] {
            #expect(interface.property(name) == nil && interface.signal(name) == nil)
        }
    }

    @Test(arguments: [
        ("GotSecret", Interface.client.name, true), ("GotSecret", "org.example", false), ("Got", "", false),
    ])
    func `have signals that are known by interface and name`(member: String, interface: String, isKnown: Bool) {
        let notice = BusNotice(path: "/", interface: interface, member: member, sender: ":1.1", arguments: [])
        #expect((ClientSignal(notice) == .gotSecret) == isKnown)
    }

    @Test func `are described in XML`() {
        let xml = Interface.introspection(of: [.introspectable, .server], children: ["clients"])
        let beginning = """
            <!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
             "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
            <node>
              <interface name="org.freedesktop.DBus.Introspectable">
                <method name="Introspect">
                  <arg name="xml_data" type="s" direction="out"/>
                </method>
              </interface>
              <interface name="se.recompile.Mandos">
                <method name="RemoveClient">
                  <arg name="object_path" type="o" direction="in"/>
                </method>
            """
        #expect(xml.hasPrefix(beginning + "\n"))
        let end = """
                <signal name="ClientRemoved">
                  <arg name="objpath" type="o"/>
                  <arg name="name" type="s"/>
                  <annotation name="org.freedesktop.DBus.Deprecated" value="true"/>
                </signal>
              </interface>
              <node name="clients"/>
            </node>
            """
        #expect(xml.hasSuffix(end + "\n"))
    }

    @Test func `say in XML what PropertiesChanged carries, and which members have no arguments`() {
        let xml = Interface.introspection(of: [.client])
        let secret = """
                <property name="Secret" type="ay" access="write">
                  <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="invalidates"/>
                </property>
            """
        #expect(xml.contains(secret))
        #expect(xml.contains("    <method name=\"CheckedOK\"/>\n    <method name=\"Enable\">\n"))
        #expect(xml.contains("    <property name=\"Timeout\" type=\"t\" access=\"readwrite\"/>\n"))
    }
}
