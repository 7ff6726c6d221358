import CMandosSystem

/// A process that was found by the program that it runs, and is held by a descriptor: whatever happens to its number, no
/// other process is ever meant.
///
/// Source: plymouth(8mandos), "FILES" and "SECURITY"; pidfd_open(2), proc(5).
struct FoundProcess: ~Copyable {
    /// With its own name first.
    let arguments: [String]
    private let watch: FileDescriptor
    private let id: pid_t

    // The kernel's own limit for one argument, which should do for all of them.
    private static let longestCommandLine = 1 << 17
    private static let longestStatus = 1 << 16

    /// Looks for root's process that runs the program at `path`, wherever that leads: /sbin may be /usr/sbin.
    ///
    /// Only root sees what other users' processes run.
    static func ofRoot(running path: String) -> FoundProcess? {
        guard let program = FileIdentity.of(path) else { return nil }
        for id in processes() {
            if let found = FoundProcess.of(id, running: program) { return found }
        }
        return nil
    }

    /// First the descriptor and then a look at what the process is: if it still lives after that look, what was seen is
    /// the process that the descriptor is for.
    private static func of(_ id: pid_t, running program: FileIdentity) -> FoundProcess? {
        let directory = "/proc/\(id)"
        // Quick, and for nearly all of them the end: a descriptor for each is not needed.
        guard let running = FileIdentity.of(directory + "/exe"), running == program else { return nil }
        let number = cmandos_pidfd_open(id)
        guard number >= 0 else { return nil }
        let found = FoundProcess(arguments: arguments(in: directory), watch: FileDescriptor(owning: number), id: id)
        guard let again = FileIdentity.of(directory + "/exe"), again == program, isRoots(directory), !found.hasEnded
        else { return nil }
        return found
    }

    var descriptor: Int32 { watch.number }

    var hasEnded: Bool { wait(milliseconds: 0) }

    /// - Returns: whether it has ended within that time.
    func wait(milliseconds: Int64) -> Bool { waitFor(watch.number, milliseconds: milliseconds) }

    /// A process that has ended in the meantime is no failure.
    func signal(_ number: Int32) throws(SystemError) {
        let result = cmandos_pidfd_signal(watch.number, number)
        if result < 0 && cmandos_errno() != ESRCH { throw SystemError("ending process \(id)") }
    }

    /// Takes over its limits of resources, so that those of whoever started us do not bind what we start.
    /// Source: prlimit(2).
    func takeLimits() { cmandos_take_limits_of(id) }

    /// Whether real, effective, saved and file system user are root.
    ///
    /// The owner of the directory would not tell: of a process that may not be dumped, that is always root.
    private static func isRoots(_ directory: String) -> Bool {
        guard let bytes = try? readFile(directory + "/status", limit: longestStatus) else { return false }
        return bytes.split(separator: UInt8(ascii: "\n")).contains { $0.elementsEqual("Uid:\t0\t0\t0\t0".utf8) }
    }

    private static func arguments(in directory: String) -> [String] {
        guard let bytes = try? readFile(directory + "/cmdline", limit: longestCommandLine) else { return [] }
        // A zero ends each of them, also an empty one.
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }
}

/// The processes that there are, as far as we may see them.
func processes() -> [pid_t] { namesOfFiles(in: "/proc").compactMap { pid_t($0) } }
