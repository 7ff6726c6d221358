import MandosBus
import MandosCore
import MandosFormats

/// The objects `/clients/NAME`.
extension BusObjects {
    func callClient(_ name: String, _ method: ClientMethod, _ arguments: [BusValue] = []) async throws(BusError) {
        switch method {
        case .approve:
            try await attempt {
                try await registry.answerRequests(of: name, approved: arguments[0].boolean == true)
            }
        case .checkedOK: await registry.wasSeen(name)
        case .enable: try await attempt { try await registry.enable(name) }
        case .disable: try await attempt { try await registry.disable([name]) }
        case .startChecker: await registry.startChecker(of: name)
        case .stopChecker: await registry.stopChecker(of: name)
        }
    }

    func set(_ property: ClientProperty, to value: BusValue, ofClient name: String) async throws(BusError) {
        func change(_ change: SettingChange) async throws(BusError) {
            try await attempt { try await registry.change(change, of: name) }
        }
        func span() throws(BusError) -> TimeSpan {
            guard let milliseconds = value.integer, milliseconds >= 0 else {
                throw BusError(.invalidArguments, "\(property.rawValue) is a number of milliseconds, not below 0")
            }
            return TimeSpan(milliseconds: milliseconds)
        }
        let isTrue = value.boolean == true
        switch property {
        case .approvalDelay: try await change(.approvalDelay(span()))
        case .approvalDuration: try await change(.approvalDuration(span()))
        case .extendedTimeout: try await change(.extendedTimeout(span()))
        case .interval: try await change(.interval(span()))
        case .timeout: try await change(.timeout(span()))
        case .approvedByDefault: try await change(.approvedByDefault(isTrue))
        case .checker: try await change(.checker(value.text ?? ""))
        case .host: try await change(.host(value.text ?? ""))
        case .secret: if case .bytes(let bytes) = value { try await change(.secret(bytes)) }
        case .enabled: try await callClient(name, isTrue ? .enable : .disable)
        case .checkerRunning: try await callClient(name, isTrue ? .startChecker : .stopChecker)
        // The time that is given does not matter: the client was seen now.
        case .lastCheckedOK: await registry.wasSeen(name)
        case .approvalPending, .created, .expires, .fingerprint, .keyID, .lastApprovalRequest, .lastCheckerStatus,
            .lastEnabled, .name, .objectPath:
            throw BusError(.propertyReadOnly, "\(property.rawValue) cannot be written")
        }
    }
}
