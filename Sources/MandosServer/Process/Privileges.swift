import FoundationEssentials
import Glibc
import POSIXKit

/// Giving up root.
public enum Privileges {
    /// Whom to become, the first that exists. Source: mandos(8); sysusers.d has `_mandos`.
    private static let userNames = ["_mandos", "mandos", "nobody"]
    private static let lastResort: uid_t = 65534

    /// If we are root, becomes the Mandos user, for good, with none of root's groups; `stateDirectory` becomes that
    /// user's.
    ///
    /// - Throws: if the kernel refuses, or if there were a way back.
    public static func drop(stateDirectory: String?) throws {
        // What we write is nobody else's business.
        umask(0o077)
        guard geteuid() == 0 else { return }
        let (user, group) = mandosUser()
        if let stateDirectory { try giveAway(stateDirectory, to: user, group) }
        guard setgroups(0, nil) == 0 else { throw SystemError("giving up root's groups") }
        try Hardening.become(user: user, group: group)
    }

    private static func mandosUser() -> (uid_t, gid_t) {
        for name in userNames {
            if let entry = unsafe getpwnam(name) { return unsafe (entry.pointee.pw_uid, entry.pointee.pw_gid) }
        }
        return (lastResort, lastResort)
    }

    /// Whether the state may be in `directory`: a wrong `--statedir` must not give the Mandos user what is not meant.
    ///
    /// - Returns: whether it has to be given to that user first.
    public static func check(stateDirectory directory: String) throws -> Bool {
        struct Unfit: Error, CustomStringConvertible {
            let description: String
        }
        var status = stat()
        guard unsafe lstat(directory, &status) == 0 else {
            guard errno == ENOENT else { throw SystemError("looking at " + directory) }
            throw Unfit(
                description: "there is no directory \(directory) for the state; run: install -d -m 700 \(directory)")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw Unfit(description: "\(directory) is no directory") }
        guard unsafe access(directory, W_OK) == 0 else { throw SystemError("writing to \(directory)") }
        let user = geteuid() == 0 ? mandosUser().0 : geteuid()
        if status.st_uid == user || geteuid() != 0 { return false }
        guard status.st_uid == 0, status.st_mode & 0o077 == 0 else {
            throw Unfit(
                description: "\(directory) belongs to somebody else, or is open to others, so it is not meant for the"
                    + " state; if it is, run: chown root \(directory) && chmod 700 \(directory)")
        }
        return true
    }

    private static func giveAway(_ directory: String, to user: uid_t, _ group: gid_t) throws {
        _ = try check(stateDirectory: directory)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let files = names.filter { $0.hasPrefix(SQLiteStateStore.fileName) }.map { directory + "/" + $0 }
        for path in [directory] + files where unsafe lchown(path, user, group) != 0 {
            throw SystemError("giving \(path) to user \(user)")
        }
    }
}
