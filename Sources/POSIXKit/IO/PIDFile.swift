import CMandosSystem

/// A file with our process ID, by which other programs send us SIGTERM. Emptied at the end of its owner's lifetime.
public struct PIDFile: ~Copyable {
    private let path: String
    private let file: FileDescriptor

    private init(path: String, file: consuming FileDescriptor) {
        self.path = path
        self.file = file
    }

    /// Opens and locks `name` in the system's directory for PID files; call it before privileges are dropped.
    ///
    /// - Throws: as ``lock(_:)``.
    public static func open(_ name: String) throws(SystemError) -> PIDFile {
        try lock((unsafe access("/run", W_OK) == 0 ? "/run/" : "/var/run/") + name)
    }

    /// Opens and locks the file at `path`, which a process that has ended may have left behind.
    ///
    /// - Throws: with ``SystemError/isHeldByAnother`` if another process holds the lock.
    public static func lock(_ path: String) throws(SystemError) -> PIDFile {
        let maximumTries = 10
        for _ in 0..<maximumTries {
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o644)
            try SystemError.check("locking " + path, cmandos_lock(file.number))
            // The previous owner may have removed the file before we got the lock.
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

    /// Empties the file, which says that we are not running: after a change of user, we may be unable to remove it.
    deinit { ftruncate(file.number, 0) }
}

extension SystemError {
    /// Whether another process holds the lock.
    public var isHeldByAnother: Bool { code == EWOULDBLOCK }
}
