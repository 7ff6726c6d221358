public import CMandosSystem
public import MandosFormats

/// A process that this program has not started, held by its pidfd: if its number is used again, the new process is never
/// meant. Source: pidfd_open(2), proc(5).
public struct ForeignProcess: ~Copyable, Sendable {
    public let processID: pid_t
    /// -1 if the kernel gives none.
    private let watch: FileDescriptor

    // The kernel's own limit for one argument, which should do for all of them; in bytes.
    private static let commandLineLimit = 1 << 17
    private static let statusLimit = 1 << 16
    private static let environmentLimit = 1 << 20

    /// - Returns: nil if there is no such process.
    public init?(_ processID: pid_t) {
        guard processID > 0 else { return nil }
        let number = cmandos_pidfd_open(processID)
        if number < 0 && cmandos_errno() == ESRCH { return nil }
        let watch = FileDescriptor(owning: number)
        if Self.hasEnded(processID, watch) { return nil }
        self.processID = processID
        self.watch = watch
    }

    // MARK: Finding it

    /// The processes that exist, as far as we may see them.
    public static func allIDs() -> [pid_t] { namesOfFiles(in: "/proc").compactMap { pid_t($0) } }

    /// Finds root's process that runs the program at `path`, through any links: /sbin may be /usr/sbin.
    ///
    /// Only root sees which programs other users' processes run.
    public static func ofRoot(running path: String) -> ForeignProcess? {
        guard let program = FileIdentity.of(path) else { return nil }
        return first { isRunning($0, program) && isRoots($0) }
    }

    /// Finds a process that runs the program at `program` and has the file at `file` open.
    public static func find(running program: String, holding file: String) -> ForeignProcess? {
        guard let program = FileIdentity.of(program), let file = FileIdentity.of(file) else { return nil }
        return first { isRunning($0, program) && isHolding($0, file) }
    }

    /// Checks before the pidfd is opened, since most processes need none, and again after: if the process still lives then,
    /// the check was of the process that the pidfd is for.
    private static func first(where matches: (pid_t) -> Bool) -> ForeignProcess? {
        for processID in allIDs() where matches(processID) {
            guard let process = ForeignProcess(processID), process.watch.number >= 0 else { continue }
            if matches(processID), !process.hasEnded { return process }
        }
        return nil
    }

    @inline(never) private static func isRunning(_ processID: pid_t, _ program: FileIdentity) -> Bool {
        FileIdentity.of("/proc/\(processID)/exe") == program
    }

    private static func isHolding(_ processID: pid_t, _ file: FileIdentity) -> Bool {
        let directory = "/proc/\(processID)/fd"
        return namesOfFiles(in: directory).contains { FileIdentity.of(directory + "/" + $0) == file }
    }

    /// Whether real, effective, saved and file system user are root.
    ///
    /// The owner of the directory would not tell: if the process may not be dumped, that is always root.
    private static func isRoots(_ processID: pid_t) -> Bool {
        guard let bytes = try? readFile("/proc/\(processID)/status", limit: statusLimit) else { return false }
        return bytes.split(separator: UInt8(ascii: "\n")).contains { $0.elementsEqual("Uid:\t0\t0\t0\t0".utf8) }
    }

    // MARK: Its properties, to be trusted if it has not ended after they were read

    /// Its own name first; none if they cannot be read.
    public var arguments: [String] {
        guard let bytes = try? readFile("/proc/\(processID)/cmdline", limit: Self.commandLineLimit) else { return [] }
        // A zero ends each of them, also an empty one.
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// A variable of the environment that it was started with.
    public func environmentValue(_ name: String) -> String? {
        let path = "/proc/\(processID)/environ"
        guard let environment = try? readFile(path, limit: Self.environmentLimit) else { return nil }
        let start = Array((name + "=").utf8)
        for variable in environment.split(separator: 0) where variable.starts(with: start) {
            return String(decoding: variable.dropFirst(start.count), as: UTF8.self)
        }
        return nil
    }

    /// Takes over its resource limits, so that those of the program that started us do not bind the programs we start.
    /// Source: prlimit(2).
    public func takeLimits() { cmandos_take_limits_of(processID) }

    // MARK: Its end

    /// Becomes readable when the process ends; -1, which poll(2) ignores, if there is none.
    public var descriptor: Int32 { watch.number }

    public var hasEnded: Bool { Self.hasEnded(processID, watch) }

    private static func hasEnded(_ processID: pid_t, _ watch: borrowing FileDescriptor) -> Bool {
        if watch.number >= 0 { return isReadable(watch.number) }
        return kill(processID, 0) < 0 && cmandos_errno() == ESRCH
    }

    /// - Returns: whether it has ended by then.
    public func wait(until deadline: BootTime) -> Bool { waitUntilReadable(watch.number, until: deadline) }

    /// Ends it as `teardown` says.
    ///
    /// - Returns: whether it has ended. Failures on the way are passed to `report`.
    public func end(by teardown: Teardown, report: (String) -> Void) -> Bool {
        teardown.run { number in
            let result = cmandos_pidfd_signal(watch.number, number)
            // ESRCH: it has ended meanwhile.
            if result < 0 && cmandos_errno() != ESRCH { report("\(SystemError("ending process \(processID)"))") }
        } hasEnded: {
            wait(until: $0)
        }
    }
}
