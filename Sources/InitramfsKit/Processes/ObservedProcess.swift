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
