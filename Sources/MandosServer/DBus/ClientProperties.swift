import MandosBus
import MandosCore
import MandosFormats

/// The values of a client's D-Bus properties. Source: DBUS-API, "Properties".
extension ClientSnapshot {
    /// nil for a property that cannot be read.
    func value(of property: ClientProperty, at now: Moment) -> BusValue? {
        let settings = client.settings
        return switch property {
        case .approvalDelay: .span(settings.approvalDelay)
        case .approvalDuration: .span(settings.approvalDuration)
        case .approvalPending: .boolean(isApprovalPending)
        case .approvedByDefault: .boolean(settings.approvedByDefault)
        case .checker: .string(settings.checker.template)
        case .checkerRunning: .boolean(client.isBeingChecked)
        case .created: .moment(client.created)
        case .enabled: .boolean(client.isEnabled(at: now.boot))
        case .expires: .moment(expires)
        case .extendedTimeout: .span(settings.extendedTimeout)
        case .fingerprint: .string(settings.fingerprint)
        case .host: .string(settings.host)
        case .interval: .span(settings.interval)
        case .keyID: .string(settings.keyID.map { String(describing: $0).uppercased() } ?? "")
        case .lastApprovalRequest: .moment(client.lastApprovalRequest)
        case .lastCheckedOK: .moment(client.lastCheckedOK)
        case .lastCheckerStatus: .int16(client.lastCheckerStatus.map(\.busStatus) ?? -2)
        case .lastEnabled: .moment(client.lastEnabled)
        case .name: .string(settings.name)
        case .objectPath: .objectPath(path)
        case .secret: nil
        case .timeout: .span(settings.timeout)
        }
    }

    func allValues(at now: Moment) -> [(String, BusValue)] {
        ClientProperty.allCases.compactMap { property in value(of: property, at: now).map { (property.rawValue, $0) } }
    }

    /// As `GetManagedObjects` and `InterfacesAdded` have it.
    func interfacesAndProperties(at now: Moment) -> BusValue {
        .dictionary([BusEntry(.string(Interface.client.name), .properties(allValues(at: now)))], of: "sa{sv}")
    }

    /// The properties that differ in `other`, each with its new value, or nil if it cannot be read. `now` is the time of the
    /// change.
    func changes(to other: ClientSnapshot, at now: Moment) -> [(ClientProperty, BusValue?)] {
        let haveSettingsChanged = client.settings != other.client.settings
        return ClientProperty.allCases.compactMap { property in
            guard haveSettingsChanged || !property.isSetting else { return nil }
            let new = other.value(of: property, at: now)
            if property == .secret {
                return client.settings.secret == other.client.settings.secret ? nil : (property, nil)
            }
            if property == .enabled {
                // Not from `isEnabled(at:)`: that changed when the time ran out, and this signal is still to be sent.
                let wasEnabled = client.status != .disabled
                return wasEnabled == (other.client.status != .disabled) ? nil : (property, new)
            }
            return value(of: property, at: now) == new ? nil : (property, new)
        }
    }
}

extension ClientProperty {
    /// Whether it comes from clients.conf: checks and requests never change it.
    fileprivate var isSetting: Bool {
        switch self {
        case .approvalDelay, .approvalDuration, .approvedByDefault, .checker, .extendedTimeout, .fingerprint, .host,
            .interval, .keyID, .name, .objectPath, .secret, .timeout, .created:
            true
        case .approvalPending, .checkerRunning, .enabled, .expires, .lastApprovalRequest, .lastCheckedOK,
            .lastCheckerStatus, .lastEnabled:
            false
        }
    }
}

extension TerminationStatus {
    /// Source: DBUS-API `LastCheckerStatus` and `CheckerCompleted`.
    var busStatus: Int16 {
        switch self {
        case .exit(let status): Int16(truncatingIfNeeded: status)
        case .signal: -1
        }
    }

    /// The status as wait(2) encodes it.
    var waitStatus: Int64 {
        switch self {
        case .exit(let status): Int64(status) << 8
        case .signal(let number): Int64(number)
        }
    }
}

extension BusValue {
    fileprivate static func span(_ span: TimeSpan) -> BusValue { .uint64(UInt64(max(0, span.milliseconds))) }

    /// In UTC without the final "Z", and with six decimals: programs made for the reference, such as its mandos-monitor, read
    /// no other form.
    fileprivate static func moment(_ moment: Timestamp?) -> BusValue {
        guard let moment else { return .string("") }
        let milliseconds = (moment.millisecondsSince1970 % 1000 + 1000) % 1000
        return .string("\(moment.rfc3339.dropLast()).\(String(milliseconds + 1000).dropFirst())000")
    }
}

extension Refusal {
    /// Source: DBUS-API `Rejected`, as the reference words it.
    var busReason: String {
        switch self {
        case .unknownKey: "Unknown key"
        case .disabled: "Disabled"
        case .keyExpired: "Key expired"
        case .denied: "Denied"
        case .tooManyRequests: "Too many requests"
        case .approvalTimedOut: "Approval timed out"
        }
    }
}
