import CMandosSystem

/// A file with this process's number, by which other programs send us SIGTERM. It is emptied when its owner goes.
public struct PIDFile: ~Copyable {
    private let path: String
    private let file: FileDescriptor

    private init(path: String, file: consuming FileDescriptor) {
        self.path = path
        self.file = file
    }

    /// Opens `name` in the system's directory for such files, while there is still the privilege to do so.
    public static func open(_ name: String) throws(SystemError) -> PIDFile {
        let path = (unsafe access("/run", W_OK) == 0 ? "/run/" : "/var/run/") + name
        return PIDFile(path: path, file: try FileDescriptor.open(path, O_WRONLY | O_CREAT, mode: 0o644))
    }

    /// Opens the file at `path`, also one left behind by a process that has ended, and locks it.
    ///
    /// - Throws: with ``SystemError/isHeldByAnother`` if another process has the lock.
    public static func lock(_ path: String) throws(SystemError) -> PIDFile {
        let maximumTries = 10
        for _ in 0..<maximumTries {
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o644)
            try SystemError.check("locking " + path, cmandos_lock(file.number))
            // The process that had it may have removed it before the lock was ours.
            if let identity = FileIdentity.of(file), identity == FileIdentity.of(path) {
                return PIDFile(path: path, file: file)
            }
        }
        throw SystemError("locking " + path, code: EWOULDBLOCK)
    }

    public borrowing func write() throws(SystemError) {
        try SystemError.check("writing " + path, ftruncate(file.number, 0))
        try file.write(Array("\(getpid())\n".utf8))
    }

    public consuming func remove() { unsafe unlink(path) }

    /// After a change of user, we may not remove it any more; an empty one says that we do not run.
    deinit { ftruncate(file.number, 0) }
}

extension SystemError {
    /// Another process has the lock.
    public var isHeldByAnother: Bool { code == EWOULDBLOCK }
}
