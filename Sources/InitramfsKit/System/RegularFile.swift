import CMandosSystem

/// Reads a whole file that somebody else has put there; whatever it is, this does not wait.
///
/// - Throws: also if it is no regular file (EINVAL), or longer than `limit` bytes (EFBIG).
public func readRegularFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    var status = stat()
    try unsafe SystemError.check("looking at " + path, fstat(file.number, &status))
    guard status.isRegularFile else { throw SystemError(path + " is no file", code: EINVAL) }
    return try file.contents(path, limit: limit)
}

/// Makes a new file that only we can read and write.
///
/// - Throws: also if there is something at `path` already (EEXIST).
public func writeNewFile(_ path: String, _ contents: [UInt8]) throws(SystemError) {
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    _ = try unsafe contents.withUnsafeBufferPointer { (bytes) throws(SystemError) in
        try unsafe writeAll(UnsafeRawBufferPointer(bytes), to: file.number)
    }
}
