public import CMandosSystem

/// A process that was found by the program that it runs, and is held by a descriptor: whatever happens to its number, no
/// other process is ever meant.
///
/// Source: plymouth(8mandos), "FILES" and "SECURITY"; pidfd_open(2), proc(5).
public struct FoundProcess: ~Copyable {
    /// With its own name first.
    public let arguments: [String]
    private let watch: FileDescriptor
    private let id: pid_t

    // The kernel's own limit for one argument, which should do for all of them.
    private static let longestCommandLine = 1 << 17
    private static let longestStatus = 1 << 16

    /// Looks for root's process that runs the program at `path`, wherever that leads: /sbin may be /usr/sbin.
    ///
    /// Only root sees what other users' processes run.
    public static func ofRoot(running path: String) -> FoundProcess? {
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

    public var descriptor: Int32 { watch.number }

    public var hasEnded: Bool { wait(milliseconds: 0) }

    /// - Returns: whether it has ended within that time.
    public func wait(milliseconds: Int64) -> Bool { waitFor(watch.number, milliseconds: milliseconds) }

    /// A process that has ended in the meantime is no failure.
    public func signal(_ number: Int32) throws(SystemError) {
        let result = cmandos_pidfd_signal(watch.number, number)
        if result < 0 && cmandos_errno() != ESRCH { throw SystemError("ending process \(id)") }
    }

    /// Takes over its limits of resources, so that those of whoever started us do not bind what we start.
    /// Source: prlimit(2).
    public func takeLimits() { cmandos_take_limits_of(id) }

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
public func processes() -> [pid_t] { namesOfFiles(in: "/proc").compactMap { pid_t($0) } }

/// A process that somebody else has started. Source: proc(5).
public struct ObservedProcess: ~Copyable, Sendable {
    public let processID: pid_t
    private let watch: FileDescriptor

    /// Longer environments are read as if they were empty, in bytes.
    private static let environmentLimit = 1 << 20

    /// Becomes readable when it ends.
    public var descriptor: Int32 { watch.number }

    /// A process that runs the program at `program` and has the file at `file` open; nil if there is none, or it may not
    /// be looked at.
    public static func find(running program: String, holding file: String) -> ObservedProcess? {
        guard let program = FileIdentity.of(program), let file = FileIdentity.of(file) else { return nil }
        for processID in processes() where isRunning(processID, program) && isHolding(processID, file) {
            let watch = cmandos_pidfd_open(processID)
            guard watch >= 0 else { continue }
            let process = ObservedProcess(processID: processID, watch: FileDescriptor(owning: watch))
            // Its number might have become somebody else's just before we got hold of it.
            if isRunning(processID, program) && isHolding(processID, file) { return process }
        }
        return nil
    }

    /// A variable of the environment that it was started with.
    public borrowing func environmentValue(_ name: String) -> String? {
        guard let environment = try? readFile("/proc/\(processID)/environ", limit: Self.environmentLimit) else {
            return nil
        }
        let start = Array((name + "=").utf8)
        for variable in environment.split(separator: 0) where variable.starts(with: start) {
            return String(decoding: variable.dropFirst(start.count), as: UTF8.self)
        }
        return nil
    }

    private static func isRunning(_ processID: pid_t, _ program: FileIdentity) -> Bool {
        FileIdentity.of("/proc/\(processID)/exe") == program
    }

    private static func isHolding(_ processID: pid_t, _ file: FileIdentity) -> Bool {
        let directory = "/proc/\(processID)/fd"
        return namesOfFiles(in: directory).contains { FileIdentity.of(directory + "/" + $0) == file }
    }
}

/// A process of somebody else's, to be told when it ends. Source: pidfd_open(2), kill(2).
public final class ProcessWatch {
    private let processID: Int32
    /// Nil where the kernel does not give one; then ``hasEnded`` still knows. Never changed; the compiler lends only variables.
    private var watch: FileDescriptor?

    /// - Returns: nil if there is no such process.
    public init?(_ processID: Int32) {
        let number = processID > 0 ? cmandos_pidfd_open(processID) : -1
        if processID <= 0 || (number < 0 && cmandos_errno() == ESRCH) { return nil }
        self.processID = processID
        watch = number < 0 ? nil : FileDescriptor(owning: number)
        if hasEnded { return nil }
    }

    public var hasEnded: Bool {
        if let number = watch?.number { return isReadable(number) }
        return kill(processID, 0) < 0 && cmandos_errno() == ESRCH
    }

    /// Waits also for its end.
    public func register(in set: inout PollSet) {
        if let number = watch?.number { set.add(number) }
    }
}
