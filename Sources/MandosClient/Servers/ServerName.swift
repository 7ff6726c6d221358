import MandosFormats

/// The name of a server: a host name or a numeric address, and a port.
///
/// Source: mandos-client(8mandos) `--connect`: the port follows the last colon.
public struct ServerName: Sendable {
    public let host: String
    public let port: UInt16

    /// The port if none is given; a server that is found without Zeroconf needs a fixed port.
    public static let defaultPort: UInt16 = 4711

    /// Why a text is not the name of a server.
    public enum Problem: Error, Equatable, CustomStringConvertible {
        case noPort
        case badPort
        case noHost

        public var description: String {
            switch self {
            case .noPort: "there is no port; write ADDRESS:PORT"
            case .badPort: "the port after the last colon is not a number from 1 to 65535"
            case .noHost: "there is no address before the port; write ADDRESS:PORT"
            }
        }
    }

}

extension ServerName {
    /// Reads `ADDRESS:PORT`.
    public init(parsing text: String) throws(Problem) {
        let bytes = Array(text.utf8)
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { throw .noPort }
        guard let number = decimalNumber(bytes[(colon + 1)...]), let port = UInt16(exactly: number), port > 0 else {
            throw .badPort
        }
        var host = bytes[..<colon]
        if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw .noHost }
        self.host = String(decoding: host, as: UTF8.self)
        self.port = port
    }

    /// Reads `ADDRESS[:PORT]`; without a port, it is ``defaultPort``. An IPv6 address with a port has brackets.
    ///
    /// Source: `--server`.
    public init(parsingWithOptionalPort text: String) throws(Problem) {
        let bytes = Array(text.utf8)
        let afterBracket = bytes.lastIndex(of: UInt8(ascii: "]")).map { bytes[($0 + 1)...] }
        let colons = (afterBracket ?? bytes[...]).reduce(0) { $0 + ($1 == UInt8(ascii: ":") ? 1 : 0) }
        let hasPort = colons == 1
        try self.init(parsing: hasPort ? text : text + ":" + String(Self.defaultPort))
    }
}

extension ServerName: Equatable {
    public static func == (left: ServerName, right: ServerName) -> Bool {
        left.port == right.port && left.host.utf8.elementsEqual(right.host.utf8)
    }
}

extension ServerName: CustomStringConvertible {
    public var description: String {
        let isIPv6 = host.utf8.contains(UInt8(ascii: ":"))
        return (isIPv6 ? "[" + host + "]" : host) + ":" + String(port)
    }
}
