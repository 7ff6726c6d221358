import CMandosSystem

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
    static func watching(
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

/// Both ends of a pipe.
public struct Pipe: ~Copyable {
    public let reading: FileDescriptor
    public let writing: FileDescriptor

    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try unsafe SystemError.check("making a pipe", cmandos_pipe(&ends))
        reading = FileDescriptor(owning: ends[0])
        writing = FileDescriptor(owning: ends[1])
    }

    /// The end to read from; the other one is closed.
    public consuming func keepReading() -> FileDescriptor { consume reading }
}

/// Reads a whole file.
///
/// - Throws: also if it is longer than `limit` bytes (EFBIG).
public func readFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    try FileDescriptor.open(path, O_RDONLY).contents(path, limit: limit)
}

extension FileDescriptor {
    /// What is left to read of the file at `path`, to its end.
    ///
    /// - Throws: also if it is longer than `limit` bytes (EFBIG).
    func contents(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
        var contents = [UInt8](repeating: 0, count: min(4096, limit + 1))
        var count = 0
        while true {
            if count == contents.count { contents.append(contentsOf: [UInt8](repeating: 0, count: count)) }
            let transfer: FileDescriptor.Transfer
            do throws(SystemError) {
                transfer = try unsafe contents.withUnsafeMutableBufferPointer {
                    (buffer) throws(SystemError) -> FileDescriptor.Transfer in
                    try unsafe read(
                        into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]))
                }
            } catch {
                throw SystemError("reading " + path, code: error.code)
            }
            guard case .bytes(let more) = transfer else { break }
            count += more
            if count > limit { throw SystemError("reading " + path, code: EFBIG) }
        }
        contents.removeLast(contents.count - count)
        return contents
    }
}

/// Writes all of `bytes` to `descriptor`, however many pieces that takes.
///
/// - Returns: false if `interruption`, a descriptor, became readable before the end.
@discardableResult
public func writeAll(
    _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, unless interruption: Int32? = nil
) throws(SystemError) -> Bool {
    // What a pipe takes without blocking, once it is ready at all.
    let pieceSize = Int(PIPE_BUF)
    var rest = unsafe bytes
    while unsafe !rest.isEmpty {
        var set = PollSet()
        set.add(descriptor, for: .writing)
        if let interruption { set.add(interruption) }
        set.wait()
        if let interruption, set.isReady(interruption) { return false }
        guard set.isReady(descriptor, for: .writing) else { continue }
        let count = unsafe write(descriptor, rest.baseAddress, min(rest.count, pieceSize))
        if count >= 0 {
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        } else if cmandos_errno() != EINTR && cmandos_errno() != EAGAIN {
            throw SystemError("writing")
        }
    }
    return true
}
