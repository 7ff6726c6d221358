import Glibc
import POSIXKit

/// A lock that keeps other servers away from a state directory, until it is freed.
///
/// The lock of SQLite alone would not: it is on the database file, which can be put aside.
final class StateLock: Sendable {
    /// In the state directory.
    static let fileName = "lock"

    private let file: FileDescriptor
    private let path: String

    /// Whether the file is still the one that is locked.
    var isInPlace: Bool { FileIdentity.of(file) == FileIdentity.of(path) }

    init(directory: String) throws(StateStoreError) {
        path = directory + "/" + Self.fileName
        do throws(SystemError) {
            file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        } catch {
            throw StateStoreError(error, "opening", directory + "/" + SQLiteStateStore.fileName)
        }
        guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else { throw .inUse(directory) }
    }

    /// Closing the file is not enough: a forked child that has not yet executed its program has the lock too.
    deinit { flock(file.number, LOCK_UN) }
}
