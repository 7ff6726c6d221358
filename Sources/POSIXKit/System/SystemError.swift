import CMandosSystem

/// A failed system call: the action it was part of, and the kernel's error code.
public struct SystemError: Error, CustomStringConvertible {
    public let action: String
    /// An error number of errno(3).
    public let code: Int32

    /// Captures errno: create the error before another call can change it.
    public init(_ action: String) { self.init(action, code: cmandos_errno()) }

    public init(_ action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    public var description: String { action + ": " + reason }

    public var reason: String { unsafe String(cString: strerror(code)) }

    /// Whether the file, or a directory in its path, does not exist.
    public var isNoSuchFile: Bool { code == ENOENT || code == ENOTDIR }
    /// Something else is where a directory should be.
    public var isNoDirectory: Bool { code == ENOTDIR }

    /// Whether the peer reset or closed the connection while data was under way.
    public var isConnectionReset: Bool { code == ECONNRESET || code == EPIPE }

    /// Whether the address is unreachable as long as our network configuration stays as it is.
    public var lacksNetwork: Bool {
        [ENETUNREACH, ENETDOWN, EADDRNOTAVAIL, ENODEV, ENXIO].contains(code)
    }

    /// Throws if the system call failed, which it reports with a negative number.
    @discardableResult
    public static func check(_ action: @autoclosure () -> String, _ result: Int32) throws(SystemError) -> Int32 {
        if result < 0 {
            let code = cmandos_errno()
            throw SystemError(action(), code: code)
        }
        return result
    }
}
