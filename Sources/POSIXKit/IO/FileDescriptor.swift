import CMandosSystem

/// An open file descriptor, close-on-exec, closed at the end of its owner's lifetime.
public struct FileDescriptor: ~Copyable, Sendable {
    public let number: Int32

    /// Takes over an open descriptor.
    public init(owning number: Int32) { self.number = number }

    deinit { close(number) }

    /// The result of one read or write.
    public enum Transfer: Equatable {
        case bytes(Int)
        /// The descriptor is non-blocking and not ready.
        case notReady
        case end
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Transfer {
        while true {
            let count = unsafe CMandosSystem.read(number, buffer.baseAddress, buffer.count)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch cmandos_errno() {
            case EINTR: continue
            case EAGAIN: return .notReady
            default: throw SystemError("reading")
            }
        }
    }

    public func write(_ buffer: UnsafeRawBufferPointer) throws(SystemError) -> Transfer {
        while true {
            let count = unsafe CMandosSystem.write(number, buffer.baseAddress, buffer.count)
            if count >= 0 { return .bytes(count) }
            switch cmandos_errno() {
            case EINTR: continue
            case EAGAIN: return .notReady
            default: throw SystemError("writing")
            }
        }
    }

    /// Reads up to `bytes.count` bytes, without changing the size of `bytes`.
    public func read(into bytes: inout [UInt8]) throws(SystemError) -> Transfer {
        try unsafe bytes.withUnsafeMutableBufferPointer { (bytes) throws(SystemError) -> Transfer in
            try unsafe read(into: UnsafeMutableRawBufferPointer(bytes))
        }
    }

    @discardableResult
    public func write(_ bytes: [UInt8]) throws(SystemError) -> Transfer {
        try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(SystemError) -> Transfer in
            try unsafe write(UnsafeRawBufferPointer(bytes))
        }
    }

    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(SystemError) -> FileDescriptor {
        let number = unsafe cmandos_open(path, flags | O_CLOEXEC, mode)
        return FileDescriptor(owning: try SystemError.check("opening " + path, number))
    }

    /// Opens /dev/null.
    public static func nothing() throws(SystemError) -> FileDescriptor { try open("/dev/null", O_RDWR) }

    /// Opens a program for execution only. Source: open(2), O_PATH.
    public static func openPath(_ path: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try SystemError.check("opening " + path, unsafe cmandos_open_path(path)))
    }

    /// Opens the controlling terminal of our session. Source: tty(4).
    public static func openTerminal() throws(SystemError) -> FileDescriptor { try open("/dev/tty", O_RDWR) }

    /// Opens a directory, to keep a reference to it.
    public static func directory(_ path: String) throws(SystemError) -> FileDescriptor { try open(path, O_RDONLY) }

    public func setNonBlocking() throws(SystemError) {
        try SystemError.check("making a descriptor non-blocking", cmandos_set_nonblocking(number))
    }

    /// Creates a file that exists in memory only, until its last descriptor is closed.
    public static func inMemory(_ name: StaticString) throws(SystemError) -> FileDescriptor {
        let characters = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return FileDescriptor(
            owning: try SystemError.check("making a file in memory", unsafe cmandos_memory_file(characters)))
    }
}

extension Optional where Wrapped == FileDescriptor {
    /// The descriptor's number, without consuming the descriptor.
    public var number: Int32? {
        switch self {
        case .some(let descriptor): descriptor.number
        case .none: nil
        }
    }
}
