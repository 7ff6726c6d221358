import FoundationEssentials
import Glibc
import POSIXKit

/// Gives up root's privileges.
public enum Privileges {
    /// The users to become; the first that exists is taken. Source: mandos(8); sysusers.d has `_mandos`.
    private static let userNames = ["_mandos", "mandos", "nobody"]
    private static let lastResort: uid_t = 65534

    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        fileprivate static func system(_ action: String) -> Failure { Failure(description: "\(SystemError(action))") }
    }

    /// Makes root the Mandos user, irrevocably and without root's groups, and gives `stateDirectory` to that user. Does nothing
    /// if this process is not root.
    ///
    /// - Throws: if the kernel refuses, or if the change could be undone.
    public static func drop(stateDirectory: String?) throws(Failure) {
        // Files written from now on are for the server's user only.
        umask(0o077)
        guard geteuid() == 0 else { return }
        let (user, group) = mandosUser()
        if let stateDirectory { try give(stateDirectory, to: user, group) }
        guard setgroups(0, nil) == 0 else { throw .system("giving up root's groups") }
        do throws(SystemError) {
            try Hardening.become(user: user, group: group)
        } catch {
            throw Failure(description: "\(error)")
        }
    }

    private static func mandosUser() -> (uid_t, gid_t) {
        for name in userNames {
            if let entry = unsafe getpwnam(name) { return unsafe (entry.pointee.pw_uid, entry.pointee.pw_gid) }
        }
        return (lastResort, lastResort)
    }

    /// Checks whether `directory` may hold the state: a wrong `--statedir` must not give another directory to the Mandos user.
    ///
    /// - Returns: whether the directory has to be given to that user first.
    public static func check(stateDirectory directory: String) throws(Failure) -> Bool {
        var status = stat()
        guard unsafe lstat(directory, &status) == 0 else {
            guard errno == ENOENT else { throw .system("looking at " + directory) }
            throw Failure(
                description: "there is no directory \(directory) for the state; run: install -d -m 700 \(directory)")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw Failure(description: "\(directory) is not a directory") }
        guard unsafe access(directory, W_OK) == 0 else { throw .system("writing to \(directory)") }
        let user = geteuid() == 0 ? mandosUser().0 : geteuid()
        if status.st_uid == user || geteuid() != 0 { return false }
        guard status.st_uid == 0, status.st_mode & 0o077 == 0 else {
            throw Failure(
                description:
                    "\(directory) belongs to another user or is open to others, so it is probably not meant for the"
                    + " state; if it is, run: chown root \(directory) && chmod 700 \(directory)")
        }
        return true
    }

    private static func give(_ directory: String, to user: uid_t, _ group: gid_t) throws(Failure) {
        _ = try check(stateDirectory: directory)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let files = names.filter { $0.hasPrefix(SQLiteStateStore.fileName) }.map { directory + "/" + $0 }
        for path in [directory] + files where unsafe lchown(path, user, group) != 0 {
            throw .system("giving \(path) to user \(user)")
        }
    }
}
