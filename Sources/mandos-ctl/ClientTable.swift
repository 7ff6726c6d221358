import FoundationEssentials
import MandosBus
import MandosFormats

/// A table of clients for people, with columns as wide as needed. Source: mandos-ctl(8); the output of the reference.
struct ClientTable {
    static let usualColumns: [ClientProperty] = [.name, .enabled, .timeout, .lastCheckedOK]
    static let allColumns: [ClientProperty] = [
        .name, .enabled, .timeout, .lastCheckedOK, .created, .interval, .host, .keyID, .fingerprint, .checkerRunning,
        .lastEnabled, .approvalPending, .approvedByDefault, .lastApprovalRequest, .approvalDelay, .approvalDuration,
        .checker, .extendedTimeout, .expires, .lastCheckerStatus,
    ]

    private let rows: [[String]]

    init(_ clients: [ClientProxy], _ columns: [ClientProperty]) {
        rows = [columns.map(\.title)] + clients.map { client in columns.map { singleLine($0.text(client[$0])) } }
    }

    var text: String {
        var widths: [Int] = []
        for column in rows[0].indices { widths.append(rows.reduce(0) { max($0, $1[column].unicodeScalars.count) }) }
        return rows.map { row in
            zip(row, widths).map { text, width in
                text + String(repeating: " ", count: width - text.unicodeScalars.count)
            }.joined(separator: " ")
        }.joined(separator: "\n")
    }
}

extension ClientProperty {
    fileprivate var title: String {
        switch self {
        case .checkerRunning: "Check Is Running"
        case .approvalPending: "Approval Is Pending"
        case .lastCheckedOK: "Last Successful Check"
        case .keyID: "Key ID"
        case .approvalDelay: "Approval Delay"
        case .approvalDuration: "Approval Duration"
        case .approvedByDefault: "Approved By Default"
        case .extendedTimeout: "Extended Timeout"
        case .lastApprovalRequest: "Last Approval Request"
        case .lastCheckerStatus: "Last Checker Status"
        case .lastEnabled: "Last Enabled"
        case .checker, .created, .enabled, .expires, .fingerprint, .host, .interval, .name, .objectPath, .secret,
            .timeout:
            rawValue
        }
    }

    fileprivate func text(_ value: BusValue?) -> String {
        guard let value else { return "" }
        if declaration.type == "t" { return Self.clockTime(value.integer ?? 0) }
        if let isTrue = value.boolean { return isTrue ? "Yes" : "No" }
        return value.integer.map(String.init) ?? value.text ?? ""
    }

    /// Days if not zero, hours, minutes and seconds: `1T02:03:04`.
    private static func clockTime(_ milliseconds: Int64) -> String {
        func two(_ number: Int64) -> String { (number < 10 ? "0" : "") + String(number) }
        let seconds = milliseconds / 1000
        let days = seconds / 86_400
        return (days > 0 ? "\(days)T" : "")
            + [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60].map(two).joined(separator: ":")
    }
}

/// Clients as JSON, with the keys and types of the reference.
enum ClientJSON {
    static func text(_ clients: [ClientProxy], _ properties: [ClientProperty]) -> String {
        if clients.isEmpty { return "{}" }
        let objects = clients.map { client in
            let lines = properties.map { "        \(quoted($0.rawValue)): \(value(client[$0]))" }
            return "    \(quoted(client.name)): {\n\(lines.joined(separator: ",\n"))\n    }"
        }
        return "{\n\(objects.joined(separator: ",\n"))\n}"
    }

    static func value(_ value: BusValue?) -> String {
        guard let value = value?.unwrapped else { return "null" }
        if let isTrue = value.boolean { return isTrue ? "true" : "false" }
        if let number = value.integer { return String(number) }
        if let elements = value.elements { return "[" + elements.map(Self.value).joined(separator: ", ") + "]" }
        if let entries = value.byName {
            let pairs = entries.sorted { $0.key < $1.key }.map { "\(quoted($0.key)): \(Self.value($0.value))" }
            return "{" + pairs.joined(separator: ", ") + "}"
        }
        return quoted(value.text ?? "")
    }

    /// A JSON string, quoted and escaped, without characters that a terminal would obey.
    static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        let json = (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
        // JSON itself requires that for some of them. All have numbers of four digits.
        return json.unicodeScalars.map { scalar in
            isControl(scalar) ? "\\u" + String(0x10000 + scalar.value, radix: 16).dropFirst() : String(scalar)
        }.joined()
    }
}
