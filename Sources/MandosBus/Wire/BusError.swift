import CSDBus
import Glibc

/// An error on the bus: the error answer of another program, or a local failure.
///
/// Source: D-Bus specification, "Message Protocol: Errors"; sd_bus_error(3).
public struct BusError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Such as `org.freedesktop.DBus.Error.UnknownObject`.
    public let name: String
    public let message: String

    public init(_ name: StandardName, _ message: String) {
        self.name = name.rawValue
        self.message = message
    }

    init(name: String, message: String) {
        self.name = name
        self.message = message
    }

    public var description: String { message }

    public var isUnknownMember: Bool {
        [StandardName.unknownMethod, .unknownInterface, .unknownObject].contains { $0.rawValue == name }
    }

    /// Whether no program has the destination's name.
    public var isNameWithoutOwner: Bool {
        [StandardName.serviceUnknown, .nameHasNoOwner].contains { $0.rawValue == name }
    }

    /// The errors of the D-Bus specification.
    public enum StandardName: String, Sendable {
        case accessDenied = "org.freedesktop.DBus.Error.AccessDenied"
        case failed = "org.freedesktop.DBus.Error.Failed"
        case invalidArguments = "org.freedesktop.DBus.Error.InvalidArgs"
        case limitsExceeded = "org.freedesktop.DBus.Error.LimitsExceeded"
        case nameHasNoOwner = "org.freedesktop.DBus.Error.NameHasNoOwner"
        case propertyReadOnly = "org.freedesktop.DBus.Error.PropertyReadOnly"
        case serviceUnknown = "org.freedesktop.DBus.Error.ServiceUnknown"
        case unknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
        case unknownMethod = "org.freedesktop.DBus.Error.UnknownMethod"
        case unknownObject = "org.freedesktop.DBus.Error.UnknownObject"
        case unknownProperty = "org.freedesktop.DBus.Error.UnknownProperty"
    }

    /// Throws unless a function of sd-bus succeeded; such functions return a negative errno(3) for failure.
    @discardableResult
    static func check(_ action: @autoclosure () -> String, _ result: Int32) throws(BusError) -> Int32 {
        guard result < 0 else { return result }
        throw BusError(.failed, action() + ": " + (unsafe String(cString: strerror(-result))))
    }
}
