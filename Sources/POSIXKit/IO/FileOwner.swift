import CMandosSystem

/// Attributes of a file. Source: inode(7).
public struct FileAttributes: Equatable, Sendable {
    public let isRegularFile: Bool
    public let isFIFO: Bool
    public let user: UInt32
    /// Without the bits of the file's type.
    public let mode: UInt32
    /// The number of the file's names.
    public let linkCount: Int
}

/// Looking at files, and giving them to another user, so that no symbolic or hard link can stand for another file.
extension FileDescriptor {
    /// Opens the directory at `path`, which may not be a symbolic link.
    public static func directoryItself(_ path: String) throws(SystemError) -> FileDescriptor {
        try open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    /// Opens an entry of this directory, to look at it and to change its owner; a symbolic link is opened itself. Needs no
    /// permission of the entry, and never waits. Source: open(2), O_PATH.
    public func entry(_ name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try SystemError.check("opening " + name, unsafe cmandos_open_entry(number, name)))
    }

    public func attributes() throws(SystemError) -> FileAttributes {
        var status = stat()
        try unsafe SystemError.check("looking at a file", fstat(number, &status))
        return FileAttributes(
            isRegularFile: status.isRegularFile, isFIFO: status.isFIFO, user: status.st_uid,
            mode: status.st_mode & ~mode_t(S_IFMT),
            linkCount: Int(status.st_nlink))
    }

    /// Makes `user` and `group` the file's owners.
    public func give(to user: UInt32, _ group: UInt32) throws(SystemError) {
        try SystemError.check("changing a file's owner", cmandos_give(number, user, group))
    }

    /// Sets the permissions of a file that was opened for reading.
    public func setMode(_ mode: UInt32) throws(SystemError) {
        try SystemError.check("changing a file's permissions", fchmod(number, mode))
    }
}
