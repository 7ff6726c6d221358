import CMandosSystem

/// Reads a whole file.
///
/// - Throws: also if the file is longer than `limit` bytes (EFBIG).
public func readFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    try FileDescriptor.open(path, O_RDONLY).contents(path, limit: limit)
}

extension FileDescriptor {
    /// Reads the rest of the file at `path`.
    ///
    /// - Throws: also if the rest is longer than `limit` bytes (EFBIG).
    public func contents(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
        var contents = [UInt8](repeating: 0, count: min(4096, limit + 1))
        var count = 0
        while true {
            if count == contents.count {
                // It may be a secret: no copy is left in memory that is free.
                var larger = [UInt8](repeating: 0, count: 2 * count)
                for index in 0..<count { larger[index] = contents[index] }
                wipe(&contents)
                contents = larger
            }
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

/// Writes all of `bytes` to `descriptor`, in as many writes as necessary.
///
/// - Returns: false if the descriptor `interruption` became readable before the end.
@discardableResult
public func writeAll(
    _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, unless interruption: Int32? = nil
) throws(SystemError) -> Bool {
    // A pipe that is ready takes this much without blocking.
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

@discardableResult
public func writeAll(
    _ bytes: [UInt8], to descriptor: Int32, unless interruption: Int32? = nil
) throws(SystemError) -> Bool {
    try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(SystemError) in
        try unsafe writeAll(UnsafeRawBufferPointer(bytes), to: descriptor, unless: interruption)
    }
}

/// Reads a whole regular file created by another program; never waits, even if it is a FIFO or a terminal instead.
///
/// - Throws: also if it is not a regular file (EINVAL), or longer than `limit` bytes (EFBIG).
public func readRegularFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    var status = stat()
    try unsafe SystemError.check("looking at " + path, fstat(file.number, &status))
    guard status.isRegularFile else { throw SystemError(path + " is no file", code: EINVAL) }
    return try file.contents(path, limit: limit)
}

/// Creates a file that only our user can read and write.
///
/// - Throws: also if `path` already exists (EEXIST).
public func writeNewFile(_ path: String, _ contents: [UInt8]) throws(SystemError) {
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    try writeAll(contents, to: file.number)
}
