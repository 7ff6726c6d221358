import Glibc
import POSIXKit

/// The file that says which process the server is. Source: mandos(8), FILES.
public struct ProcessIDFile: ~Copyable {
    private let file: FileDescriptor

    /// Opens it while there is still the privilege to.
    public init() throws {
        let directory = unsafe access("/run", W_OK) == 0 ? "/run" : "/var/run"
        file = try FileDescriptor.open(directory + "/mandos.pid", O_WRONLY | O_CREAT, mode: 0o644)
    }

    public func write() throws {
        guard ftruncate(file.number, 0) == 0 else { throw SystemError("writing the process ID") }
        let text = Array("\(getpid())\n".utf8)
        _ = try unsafe text.withUnsafeBufferPointer { bytes in
            try unsafe file.write(UnsafeRawBufferPointer(bytes))
        }
    }

    /// The directory is not ours any more, but the file says that there is no server.
    deinit { ftruncate(file.number, 0) }
}
