public import Glibc
import POSIXKit

/// A user and its group, whom a process of the server becomes.
public struct Account: Equatable, Sendable {
    public let name: String
    public let user: uid_t
    public let group: gid_t

    /// nobody, also where that name does not exist.
    private static let nobody = Account(name: "nobody", user: 65534, group: 65534)

    /// The first that exists is taken. Source: mandos(8); sysusers.d has `_mandos`.
    private static let serverNames = ["_mandos", "mandos", "nobody"]
    private static let checkerName = "_mandos-checker"
    private static let readerName = "_mandos-reader"

    private static func named(_ name: String) -> Account? {
        guard let entry = unsafe getpwnam(name) else { return nil }
        return unsafe Account(name: name, user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
    }

    /// The Mandos user.
    static var server: Account { serverNames.lazy.compactMap(named).first ?? nobody }

    /// The user of the process that reads the configuration at a reload.
    static var reader: Account { named(readerName) ?? nobody }

    /// The user of the checkers; nil if this process is not root, and they run as its user.
    public static var checkers: Account? {
        guard geteuid() == 0 else { return nil }
        let server = server
        return named(checkerName) ?? (server.user == nobody.user ? server : nobody)
    }

    /// A warning about the users of this machine, if checkers or the helper have none of their own.
    public static var warning: String? {
        guard geteuid() == 0 else { return nil }
        let missing = [checkerName, readerName].filter { named($0) == nil }
        guard let checkers, !missing.isEmpty else { return nil }
        return "no user \(missing.joined(separator: ", ")), so checkers run as \(checkers.name); run: systemd-sysusers"
    }
}

/// Gives up root's privileges.
public enum Privileges {
    /// The permissions that new files of the server and its checkers do not have.
    static let fileMask: mode_t = 0o077

    /// Makes root the Mandos user, irrevocably and without root's groups, and gives `stateDirectory` to that user. Does nothing
    /// if this process is not root.
    ///
    /// - Throws: if the kernel refuses, or if the change could be undone.
    public static func drop(stateDirectory: String?) throws {
        // Files written from now on are for the server's user only.
        umask(fileMask)
        guard geteuid() == 0 else { return }
        let server = Account.server
        if let stateDirectory { try StateDirectory.examine(stateDirectory, for: server).give() }
        try Hardening.become(user: server.user, group: server.group, isDroppingGroups: true)
        try Hardening.protectMemory()
    }

    /// Looks at the state directory without changing it; what belongs to root will be given to the Mandos user at the start.
    public static func examine(stateDirectory: String) throws -> StateDirectory {
        try StateDirectory.examine(stateDirectory, for: geteuid() == 0 ? Account.server : nil)
    }
}
