public import CMandosSystem

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
        guard let program = realPath(program), let file = realPath(file) else { return nil }
        for name in namesOfFiles(in: "/proc") {
            guard let processID = pid_t(name), isRunning(processID, program), isHolding(processID, file) else {
                continue
            }
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

    private static func isRunning(_ processID: pid_t, _ program: [UInt8]) -> Bool {
        target(of: "/proc/\(processID)/exe").elementsEqual(program)
    }

    private static func isHolding(_ processID: pid_t, _ file: [UInt8]) -> Bool {
        let directory = "/proc/\(processID)/fd"
        return namesOfFiles(in: directory).contains { target(of: directory + "/" + $0).elementsEqual(file) }
    }

    /// Where a symbolic link leads; nothing if that cannot be told.
    private static func target(of link: String) -> [UInt8] {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink(link, &path, path.count)
        return path.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }
    }

    private static func realPath(_ path: String) -> [UInt8]? {
        guard let resolved = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(resolved) }
        return unsafe Array(String(cString: resolved).utf8)
    }
}
