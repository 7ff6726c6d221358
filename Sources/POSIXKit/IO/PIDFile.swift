import CMandosSystem

/// A file with our process's number in it, while we run: who wants us to end sends SIGTERM there.
public struct PIDFile: ~Copyable {
    private let path: String
    private let file: FileDescriptor

    private init(path: String, file: consuming FileDescriptor) {
        self.path = path
        self.file = file
    }

    /// Writes it. One that somebody has left behind is ours to take.
    ///
    /// - Throws: if it cannot be written; with ``SystemError/isHeldByAnother`` if another one of us runs.
    public static func write(_ path: String) throws(SystemError) -> PIDFile {
        let file = try lock(path)
        try SystemError.check("writing " + path, ftruncate(file.number, 0))
        let text = Array("\(getpid())\n".utf8)
        _ = try unsafe text.withUnsafeBufferPointer { (bytes) throws(SystemError) in
            try unsafe file.write(UnsafeRawBufferPointer(bytes))
        }
        return PIDFile(path: path, file: file)
    }

    /// Whoever has it at the moment may remove it before the lock is ours.
    private static func lock(_ path: String) throws(SystemError) -> FileDescriptor {
        let mostTries = 10
        for _ in 0..<mostTries {
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o644)
            try SystemError.check("locking " + path, cmandos_lock(file.number))
            if let identity = FileIdentity.of(file), identity == FileIdentity.of(path) { return file }
        }
        throw SystemError("locking " + path, code: EWOULDBLOCK)
    }

    /// Removes it.
    public consuming func remove() { unsafe unlink(path) }
}

extension SystemError {
    /// Another process has a lock on it.
    public var isHeldByAnother: Bool { code == EWOULDBLOCK }
}
