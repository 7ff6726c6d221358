import Glibc
import POSIXKit

/// The directory of the saved state, as root sees it before the server becomes the Mandos user.
///
/// It belongs to the Mandos user, or to root: as the administrator made it, or after it was restored from a backup. Root gives
/// it away together with the files of the state in it that are root's. docs/PRIVILEGES.md explains the conditions.
public struct StateDirectory: ~Copyable {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private let path: String
    private let descriptor: POSIXKit.FileDescriptor
    private let owner: Account?
    /// Whether the directory itself is root's, so that nobody else has made files in it.
    public let isRoots: Bool
    /// The files of the state that are root's.
    public let rootsFiles: [String]

    /// Looks at the directory; `owner` is nil if this process is not root, and gives nothing away.
    ///
    /// - Throws: if it cannot hold the state of `owner`. A wrong `--statedir` must not give away another directory.
    static func examine(_ path: String, for owner: Account?) throws -> StateDirectory {
        let descriptor = try open(path)
        guard let owner else {
            return StateDirectory(path: path, descriptor: descriptor, owner: nil, isRoots: false, rootsFiles: [])
        }
        let attributes = try descriptor.attributes()
        let names = try namesOfFiles(inReadable: path)
        guard attributes.user == owner.user || isOfRoot(attributes, names) else {
            throw Failure(
                description:
                    "\(path) belongs to another user, can be written by others, or has other files than those of the"
                    + " state, so it is probably not meant for the state; if it is, run: chown -R root: \(path)"
                    + " && chmod 700 \(path)")
        }
        let files = names.filter { name in isOfState(name) && isRootsFile(name, in: descriptor) }
        return StateDirectory(
            path: path, descriptor: descriptor, owner: owner, isRoots: attributes.user != owner.user,
            rootsFiles: files)
    }

    private init(
        path: String, descriptor: consuming POSIXKit.FileDescriptor, owner: Account?, isRoots: Bool,
        rootsFiles: [String]
    ) {
        self.path = path
        self.descriptor = descriptor
        self.owner = owner
        self.isRoots = isRoots
        self.rootsFiles = rootsFiles
    }

    private static func open(_ path: String) throws -> POSIXKit.FileDescriptor {
        do throws(SystemError) {
            return try .directoryItself(path)
        } catch {
            switch error.code {
            case ENOENT:
                throw Failure(
                    description: "there is no directory \(path) for the state; run: install -d -m 700 \(path)")
            case ENOTDIR, ELOOP: throw Failure(description: "\(path) is not a directory")
            default: throw error
            }
        }
    }

    /// Whether the files of the state are among `names`, or the directory is empty, and only root could put them there.
    private static func isOfRoot(_ directory: FileAttributes, _ names: [String]) -> Bool {
        let isPrivate = directory.mode & 0o077 == 0
        let isState = names.isEmpty || names.contains(SQLiteStateStore.fileName)
        return directory.user == 0 && directory.mode & 0o022 == 0 && (isPrivate || isState)
    }

    /// Whether the server makes files of this name. Its configuration may be in the same directory.
    private static func isOfState(_ name: String) -> Bool {
        name == StateLock.fileName || (name.hasPrefix("clients.") && name != "clients.conf")
    }

    private static func isRootsFile(_ name: String, in directory: borrowing POSIXKit.FileDescriptor) -> Bool {
        (try? directory.entry(name).attributes()).map(isRootsFile) ?? false
    }

    /// Whether it is a file of root, and has no other name: the Mandos user could have made that as a link.
    private static func isRootsFile(_ file: FileAttributes) -> Bool {
        file.isRegularFile && file.user == 0 && file.linkCount == 1
    }

    /// Gives the directory and root's files in it to the Mandos user. Does nothing if they belong to that user.
    consuming func give() throws {
        guard let owner else { return }
        for name in rootsFiles {
            // Looked at again, since the Mandos user may have replaced it.
            let file = try descriptor.entry(name)
            guard Self.isRootsFile(try file.attributes()) else { continue }
            try Self.naming(path + "/" + name) { () throws(SystemError) in try file.give(to: owner.user, owner.group) }
        }
        guard isRoots else { return }
        try Self.naming(path) { () throws(SystemError) in
            // First, because root may change only the permissions of its own files.
            try descriptor.setMode(0o700)
            try descriptor.give(to: owner.user, owner.group)
        }
    }

    private static func naming(_ path: String, _ body: () throws(SystemError) -> Void) throws(Failure) {
        do throws(SystemError) { try body() } catch { throw Failure(description: "\(path): \(error)") }
    }

    /// Checks, as the Mandos user, whether the server can open the files of the state in the directory at `path`, except
    /// those that it will be given.
    public static func checkAccess(_ path: String, except given: [String]) throws(Failure) {
        guard unsafe access(path, R_OK | W_OK | X_OK) == 0 else {
            throw Failure(description: "\(SystemError("writing to " + path))")
        }
        for name in namesOfFiles(in: path).filter(isOfState).sorted() where !given.contains(name) {
            let file = path + "/" + name
            guard unsafe access(file, R_OK | W_OK) == 0 else {
                let error = SystemError("opening " + file)
                throw Failure(description: "\(error); for the server to use it, run: chown root: \(file)")
            }
        }
    }
}
