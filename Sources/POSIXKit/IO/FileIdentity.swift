public import CMandosSystem

/// A file's identity, independent of its name.
public struct FileIdentity: Equatable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    /// The identity of the file that `path` leads to, also through a link of /proc to a file without a name.
    public static func of(_ path: String) -> FileIdentity? { try? look(at: path) }

    /// As ``of(_:)``, with the reason if it cannot be told.
    public static func look(at path: String) throws(SystemError) -> FileIdentity {
        var status = stat()
        try unsafe SystemError.check("looking at " + path, stat(path, &status))
        return FileIdentity(device: status.st_dev, inode: status.st_ino)
    }

    public static func of(_ file: borrowing FileDescriptor) -> FileIdentity? {
        var status = stat()
        guard unsafe fstat(file.number, &status) == 0 else { return nil }
        return FileIdentity(device: status.st_dev, inode: status.st_ino)
    }
}

extension stat {
    public var isRegularFile: Bool { st_mode & mode_t(S_IFMT) == mode_t(S_IFREG) }
    public var isFIFO: Bool { st_mode & mode_t(S_IFMT) == mode_t(S_IFIFO) }
}
