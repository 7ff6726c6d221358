import CMandosSystem

/// A system call failed: what we were doing, and the kernel's reason.
public struct SystemError: Error, CustomStringConvertible {
    public let action: String
    /// As in errno(3).
    public let code: Int32

    /// `code` is read now, so make the error before anything else can change it.
    public init(_ action: String) { self.init(action, code: cmandos_errno()) }

    public init(_ action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    public var description: String { action + ": " + reason }

    public var reason: String { unsafe String(cString: strerror(code)) }

    /// There is no such file, or no directory on the way to it.
    public var isNoSuchFile: Bool { code == ENOENT || code == ENOTDIR }

    /// The other side ended a connection without regard for what was under way.
    public var isConnectionReset: Bool { code == ECONNRESET || code == EPIPE }

    /// There is no way to an address, as long as our network stays as it is.
    public var lacksNetwork: Bool {
        [ENETUNREACH, ENETDOWN, EADDRNOTAVAIL, ENODEV, ENXIO].contains(code)
    }

    /// Throws unless a system call succeeded; such calls return a negative number for failure.
    @discardableResult
    public static func check(_ action: @autoclosure () -> String, _ result: Int32) throws(SystemError) -> Int32 {
        if result < 0 {
            let code = cmandos_errno()
            throw SystemError(action(), code: code)
        }
        return result
    }
}
