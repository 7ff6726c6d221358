import CMandosSystem
import POSIXKit

/// A FIFO to which other programs write a password. Source: askpass-fifo(8mandos), fifo(7).
struct PasswordFIFO: ~Copyable {
    private let path: String
    private let reading: FileDescriptor
    /// Our own writing end: it prevents end of file when a writer opens and closes the FIFO without writing.
    private var keeper: FileDescriptor?

    /// Why the FIFO cannot be used.
    enum Problem: Error, CustomStringConvertible {
        case system(SystemError)
        case notFIFO(path: String)
        /// Another reader has locked it. Two readers would each wait for the other's writing end to be closed.
        case isTaken(path: String)

        var description: String {
            switch self {
            case .system(let error) where error.isNoSuchFile: "\(error); make its directory"
            case .system(let error) where error.code == EACCES:
                "\(error); the program must be set-uid root, or started by root"
            case .system(let error): "\(error)"
            case .notFIFO(let path): path + " is no FIFO; remove it"
            case .isTaken(let path): "another one reads " + path + " already"
            }
        }
    }

    enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
    }

    /// Opens the FIFO at `path` without waiting for a writer, and creates it with mode 600 if it is missing.
    /// The FIFO is not removed at the end: it may belong to another program, and the next reader can use it.
    ///
    /// A file of any other type is refused, including a symbolic link.
    static func open(_ path: String) throws(Problem) -> PasswordFIFO {
        let ownerOnly: UInt32 = 0o600
        if unsafe mkfifo(path, ownerOnly) < 0 && cmandos_errno() != EEXIST {
            throw .system(SystemError("creating the FIFO " + path))
        }
        do throws(SystemError) {
            let flags = O_NONBLOCK | O_NOFOLLOW | O_NOCTTY
            let reading = try FileDescriptor.open(path, O_RDONLY | flags)
            guard try isFIFO(reading) else { throw SystemError(path, code: ELOOP) }
            try SystemError.check(path, cmandos_lock(reading.number))
            return PasswordFIFO(
                path: path, reading: reading, keeper: try FileDescriptor.open(path, O_WRONLY | flags))
        } catch {
            if error.isHeldByAnother { throw .isTaken(path: path) }
            throw error.code == ELOOP ? .notFIFO(path: path) : .system(error)
        }
    }

    private static func isFIFO(_ file: borrowing FileDescriptor) throws(SystemError) -> Bool {
        var status = stat()
        try unsafe SystemError.check("looking at the FIFO", fstat(file.number, &status))
        return status.isFIFO
    }

    /// Waits for a writer, and reads until the last writer has closed the FIFO.
    ///
    /// - Throws: also if there are more than `limit` bytes (EMSGSIZE).
    consuming func password(
        limit: Int, until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        let password = SecretBuffer(limit: limit + 1)
        while true {
            var set = PollSet()
            set.add(reading.number)
            stop.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            guard set.isReady(reading.number) else { continue }
            var transfer = FileDescriptor.Transfer.notReady
            do throws(SystemError) {
                try unsafe password.append { (room) throws(SystemError) in
                    let most = min(room.count, password.limit - password.count)
                    transfer = try unsafe reading.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<most]))
                    if case .bytes(let count) = transfer { return count }
                    return 0
                }
            } catch {
                throw SystemError("reading " + path, code: error.code)
            }
            switch transfer {
            case .notReady: break
            case .end: return .password(password)
            // A writer has written: from now on, end of file is the end of the password.
            case .bytes: keeper = nil
            }
            if password.count > limit { throw SystemError("reading " + path, code: EMSGSIZE) }
        }
    }
}
