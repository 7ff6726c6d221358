public import CMandosSystem
public import MandosFormats

/// A process that this program did not start, held by its pidfd or its directory in /proc: a new process that reuses its ID is never affected.
/// Source: pidfd_open(2), proc(5).
public struct ForeignProcess: ~Copyable, Sendable {
    public let processID: pid_t
    /// A pidfd, or what replaces it; -1 if there is neither, nor /proc.
    private let watch: FileDescriptor
    /// The process's directory in /proc, for signals if the kernel provides no pidfd; -1 without /proc.
    private let directory: FileDescriptor

    // The kernel's limit for one argument, enough for all of them in practice; in bytes.
    private static let commandLineLimit = 1 << 17
    private static let statusLimit = 1 << 16
    private static let environmentLimit = 1 << 20

    /// - Returns: nil if there is no such process.
    public init?(_ processID: pid_t) {
        guard processID > 0 else { return nil }
        let directory = FileDescriptor(owning: cmandos_process_directory(processID))
        let number = cmandos_watch_process(processID)
        if number < 0 && cmandos_errno() == ESRCH { return nil }
        let watch = FileDescriptor(owning: number)
        if Self.hasEnded(processID, watch) { return nil }
        self.processID = processID
        self.watch = watch
        self.directory = directory
    }

    // MARK: Search

    /// The IDs of all processes that we may see.
    public static func allIDs() -> [pid_t] { namesOfFiles(in: "/proc").compactMap { pid_t($0) } }

    /// Finds a process of root that runs the program at `path`, through any links: /sbin may be a link to /usr/sbin.
    ///
    /// Only root can see which programs other users' processes run.
    public static func ofRoot(running path: String) -> ForeignProcess? {
        guard let program = FileIdentity.of(path) else { return nil }
        return first { isRunning($0, program) && isRoots($0) }
    }

    /// Finds a process that runs the program at `program` and has the file at `file` open.
    public static func find(running program: String, holding file: String) -> ForeignProcess? {
        guard let program = FileIdentity.of(program), let file = FileIdentity.of(file) else { return nil }
        return first { isRunning($0, program) && isHolding($0, file) }
    }

    /// Finds a process that runs the program at `program` and was started with `variable` set to `value`.
    public static func find(running program: String, variable: String, value: String) -> ForeignProcess? {
        guard let program = FileIdentity.of(program) else { return nil }
        return first { processID in
            isRunning(processID, program)
                && environmentValue(variable, of: processID)?.utf8.elementsEqual(value.utf8) == true
        }
    }

    /// Finds a process by checks before and after its pidfd is opened: before, since most processes do not match;
    /// after, since a process that is still alive then is the one that the pidfd refers to.
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

    /// Whether the real, effective, saved and file system users are root.
    ///
    /// The owner of the directory in /proc would not tell: it is always root for a process that is not dumpable.
    private static func isRoots(_ processID: pid_t) -> Bool {
        guard let bytes = try? readFile("/proc/\(processID)/status", limit: statusLimit) else { return false }
        return bytes.split(separator: UInt8(ascii: "\n")).contains { $0.elementsEqual("Uid:\t0\t0\t0\t0".utf8) }
    }

    // MARK: Properties, valid if the process is still alive after they were read

    /// The command line, program name first; empty if it cannot be read.
    public var arguments: [String] {
        guard let bytes = try? readFile("/proc/\(processID)/cmdline", limit: Self.commandLineLimit) else { return [] }
        // A zero byte ends each argument, even an empty one.
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// The value of a variable in the environment that the process was started with.
    public func environmentValue(_ name: String) -> String? { Self.environmentValue(name, of: processID) }

    private static func environmentValue(_ name: String, of processID: pid_t) -> String? {
        let path = "/proc/\(processID)/environ"
        guard let environment = try? readFile(path, limit: environmentLimit) else { return nil }
        let start = Array((name + "=").utf8)
        for variable in environment.split(separator: 0) where variable.starts(with: start) {
            return String(decoding: variable.dropFirst(start.count), as: UTF8.self)
        }
        return nil
    }

    /// Adopts the process's resource limits, so that those of the program that started us do not bind the programs we
    /// start. Source: prlimit(2).
    public func takeLimits() { cmandos_take_limits_of(processID) }

    // MARK: Termination

    /// Becomes readable when the process ends; -1, which poll(2) ignores, without a pidfd and /proc.
    public var descriptor: Int32 { watch.number }

    public var hasEnded: Bool { Self.hasEnded(processID, watch) }

    private static func hasEnded(_ processID: pid_t, _ watch: borrowing FileDescriptor) -> Bool {
        if watch.number >= 0 { return isReadable(watch.number) }
        return kill(processID, 0) < 0 && cmandos_errno() == ESRCH
    }

    /// - Returns: whether the process has ended by `deadline`.
    public func wait(until deadline: BootTime) -> Bool { waitUntilReadable(watch.number, until: deadline) }

    /// Ends the process as `teardown` says; passes failures to `report`.
    ///
    /// - Returns: whether the process has ended.
    public func end(by teardown: Teardown, report: (String) -> Void) -> Bool {
        teardown.run { number in
            var result = cmandos_pidfd_signal(watch.number, number)
            if result < 0 && cmandos_errno() == EBADF { result = cmandos_pidfd_signal(directory.number, number) }
            // ESRCH: the process has ended meanwhile.
            if result < 0 && cmandos_errno() != ESRCH { report("\(SystemError("ending process \(processID)"))") }
        } hasEnded: {
            wait(until: $0)
        }
    }
}
