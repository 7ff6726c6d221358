import MandosFormats

/// What a client gets: its password, encrypted to it alone. Prints as its size, never as its contents.
public struct Secret: Equatable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// No secret may be longer, in bytes.
    public static let largest = ProtocolLimits.largestSecret

    /// The bytes as they are sent.
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var description: String { "secret of \(bytes.count) bytes" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
