import MandosFormats

/// A client's password, encrypted to that client alone. Prints as its size, never as its contents.
public struct Secret: Equatable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Maximum length of a secret, in bytes.
    public static let largest = ProtocolLimits.largestSecret

    /// The bytes to send.
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var description: String { "secret of \(bytes.count) bytes" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
