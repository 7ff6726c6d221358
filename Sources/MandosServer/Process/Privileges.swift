import Glibc
import POSIXKit

/// Gives up root's privileges.
public enum Privileges {
    /// The users to become; the first that exists is taken. Source: mandos(8); sysusers.d has `_mandos`.
    private static let userNames = ["_mandos", "mandos", "nobody"]
    private static let lastResort: uid_t = 65534

    /// Makes root the Mandos user, irrevocably and without root's groups, and gives `stateDirectory` to that user. Does nothing
    /// if this process is not root.
    ///
    /// - Throws: if the kernel refuses, or if the change could be undone.
    public static func drop(stateDirectory: String?) throws {
        // Files written from now on are for the server's user only.
        umask(0o077)
        guard geteuid() == 0 else { return }
        let owner = mandosUser()
        if let stateDirectory { try StateDirectory.examine(stateDirectory, for: owner).give() }
        try Hardening.become(user: owner.user, group: owner.group, isDroppingGroups: true)
    }

    /// Looks at the state directory without changing it; what belongs to root will be given to the Mandos user at the start.
    public static func examine(stateDirectory: String) throws -> StateDirectory {
        try StateDirectory.examine(stateDirectory, for: geteuid() == 0 ? mandosUser() : nil)
    }

    private static func mandosUser() -> StateDirectory.Owner {
        for name in userNames {
            if let entry = unsafe getpwnam(name) {
                return unsafe .init(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
            }
        }
        return .init(user: lastResort, group: lastResort)
    }
}
