/// A server as `--connect` names it: a host name or a numeric address, and a port.
///
/// Source: mandos-client(8mandos) `--connect`: the last colon stands before the port.
public struct ServerName: Sendable {
    public let host: String
    public let port: UInt16

    /// Where a server is if nothing else is said: a server that is to be found without Zeroconf needs a port that stays
    /// the same.
    public static let defaultPort: UInt16 = 4711

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Why a text names no server.
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

    public init(parsing text: String) throws(Problem) {
        let bytes = Array(text.utf8)
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { throw .noPort }
        var port: UInt32 = 0
        let digits = bytes[(colon + 1)...]
        for byte in digits {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), port <= UInt16.max else { throw .badPort }
            port = port * 10 + UInt32(byte - UInt8(ascii: "0"))
        }
        guard !digits.isEmpty, port > 0, let port = UInt16(exactly: port) else { throw .badPort }
        var host = bytes[..<colon]
        if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw .noHost }
        self.host = String(decoding: host, as: UTF8.self)
        self.port = port
    }

    /// A server as `--server` names it: without a port, it is ``defaultPort``. An IPv6 address with a port has brackets.
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
