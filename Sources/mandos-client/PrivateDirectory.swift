import CMandosSystem
import MandosClient
import MandosFormats
import POSIXKit

/// The user as which the processes run that talk to the network.
struct WorkerUser {
    let user: UInt32
    let group: UInt32

    /// As plugin-runner(8mandos) uses it: "nobody" and "nogroup" in Debian.
    private static let nobody: UInt32 = 65534

    /// The user who started us; if that is root, user and group 65534.
    static let current = OwnProcess.user == 0 ? WorkerUser(user: nobody, group: nobody) : WorkerUser()

    private init(user: UInt32 = OwnProcess.user, group: UInt32 = OwnProcess.group) {
        self.user = user
        self.group = group
    }

    /// Whether it is another user than we are, once we have dropped what we have from a set-uid bit.
    var isAnother: Bool { user != OwnProcess.user }

    /// Becomes this user, for good, if we are root.
    func become() throws(SystemError) {
        if isAnother { try Hardening.become(user: user, group: group, isDroppingGroups: true) }
        try Hardening.seal()
    }
}

/// The directory of the worker's files: GnuPG's home, and with it the secret key. It is made while we are still root, if we are,
/// because /run and /tmp may be writable for root only.
struct PrivateDirectory {
    let path: String
    private let owner: WorkerUser

    /// The first is the usual one; the kernel itself keeps the last one in memory, writable for root.
    private static let parents = Decryption.standardPlaces + ["/dev"]

    /// Nil if no directory can be made.
    init?(for owner: WorkerUser) {
        guard let path = try? makeDirectory(in: Self.parents, prefix: "mandos-client") else { return nil }
        self.path = path
        self.owner = owner
        guard let directory = try? FileDescriptor.directoryItself(path) else { return }
        try? directory.give(to: owner.user, owner.group)
    }

    /// Copies a file of root's into it, for the worker; gives the copy's path. Other users' files are used where they are.
    func copyOfRootsFile(_ file: String, limit: Int) throws(SystemError) -> String {
        guard owner.isAnother else { return file }
        let copy = path + "/secret-key"
        var contents = try readFile(file, limit: limit)
        defer { wipe(&contents) }
        try writeNewFile(copy, contents)
        try FileDescriptor.directoryItself(path).entry("secret-key").give(to: owner.user, owner.group)
        return copy
    }

    /// Removes what is in it, as its owner: what a link in it points to is then safe from us.
    func empty() {
        let process = try? ChildProcess.fork("a process that cleans up") {
            if (try? owner.become()) != nil { TemporaryDirectory.empty(path) }
            _exit(EX_OK)
        }
        _ = process?.waitForStatus()
    }

    /// Removes what is in it, in the worker.
    func emptyAsWorker() { TemporaryDirectory.empty(path) }

    /// How long the worker may take to empty it after the supervisor was killed, in milliseconds.
    private static let patience: Int64 = 3000
    // In microseconds.
    private static let pause: UInt32 = 20_000

    /// Removes it, once it is empty.
    func removeSoon() {
        let deadline = BootTime.now().after(milliseconds: Self.patience)
        while !removeDirectory(path), BootTime.now() < deadline { _ = usleep(Self.pause) }
    }
}
