public import CMandosSystem

/// An open file descriptor, close-on-exec, closed when its owner goes.
public struct FileDescriptor: ~Copyable, Sendable {
    public let number: Int32

    /// Takes over an open descriptor.
    public init(owning number: Int32) { self.number = number }

    deinit { close(number) }

    /// What one read or write came to.
    public enum Transfer: Equatable {
        case bytes(Int)
        /// The descriptor is not blocking, and not ready.
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

    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(SystemError) -> FileDescriptor {
        let number = unsafe cmandos_open(path, flags | O_CLOEXEC, mode)
        return FileDescriptor(owning: try SystemError.check("opening " + path, number))
    }

    /// Takes everything, and gives nothing.
    public static func nothing() throws(SystemError) -> FileDescriptor { try open("/dev/null", O_RDWR) }

    /// A name for a file, good for nothing but to start it. Source: open(2), O_PATH.
    public static func openPath(_ path: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try SystemError.check("opening " + path, unsafe cmandos_open_path(path)))
    }

    /// The terminal of our session. Source: tty(4).
    public static func openTerminal() throws(SystemError) -> FileDescriptor { try open("/dev/tty", O_RDWR) }

    /// A directory that is held on to.
    public static func directory(_ path: String) throws(SystemError) -> FileDescriptor { try open(path, O_RDONLY) }

    /// Watches a child: readable when it ends. A child that cannot be watched is ended, with its group if it leads one.
    public static func watching(
        _ child: pid_t, leadsGroup: Bool, _ action: @autoclosure () -> String
    ) throws(SystemError) -> FileDescriptor {
        let number = cmandos_pidfd_open(child)
        if number >= 0 { return FileDescriptor(owning: number) }
        let error = SystemError(action())
        kill(leadsGroup ? -child : child, SIGKILL)
        _ = waitpid(child, nil, 0)
        throw error
    }

    public func setNonBlocking() throws(SystemError) {
        try SystemError.check("making a descriptor non-blocking", cmandos_set_nonblocking(number))
    }
}

extension FileDescriptor {
    /// A file that is nowhere but in memory, and gone with its last descriptor.
    public static func inMemory(_ name: StaticString) throws(SystemError) -> FileDescriptor {
        let characters = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return FileDescriptor(
            owning: try SystemError.check("making a file in memory", unsafe cmandos_memory_file(characters)))
    }
}
