import FoundationEssentials
import Glibc
import InitramfsKit

/// Giving up root.
public enum Privileges {
    /// Whom to become, the first that exists. Source: mandos(8); sysusers.d has `_mandos`.
    private static let userNames = ["_mandos", "mandos", "nobody"]
    private static let lastResort: uid_t = 65534

    /// If we are root, becomes the Mandos user, for good, with none of root's groups; `stateDirectory` becomes that
    /// user's.
    ///
    /// - Throws: if the kernel refuses, or if there were a way back.
    public static func drop(stateDirectory: String) throws {
        // What we write is nobody else's business.
        umask(0o077)
        guard geteuid() == 0 else { return }
        let (user, group) = mandosUser()
        try giveAway(stateDirectory, to: user, group)
        guard setgroups(0, nil) == 0 else { throw SystemError("giving up root's groups") }
        try Hardening.become(user: user, group: group)
    }

    private static func mandosUser() -> (uid_t, gid_t) {
        for name in userNames {
            if let entry = unsafe getpwnam(name) { return unsafe (entry.pointee.pw_uid, entry.pointee.pw_gid) }
        }
        return (lastResort, lastResort)
    }

    private struct MissingDirectory: Error, CustomStringConvertible {
        let path: String
        var description: String { "there is no directory \(path) for the state; run: install -d -m 700 \(path)" }
    }

    private static func giveAway(_ directory: String, to user: uid_t, _ group: gid_t) throws {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let files = names.filter { $0.hasPrefix(SQLiteStateStore.fileName) }.map { directory + "/" + $0 }
        for path in [directory] + files where unsafe lchown(path, user, group) != 0 {
            if errno == ENOENT { throw MissingDirectory(path: path) }
            throw SystemError("giving \(path) to user \(user)")
        }
    }
}
