import CMandosSystem

/// A program that is given bytes on its standard input and gives bytes back on its standard output.
///
/// It runs in a process group of its own, which ends with this object. Its output is kept as a secret, since a
/// password may be in it; of what it says on standard error, the beginning is kept for messages.
public final class FilterProcess {
    /// How it ended.
    public enum Ending: Equatable {
        case exit(status: Int32)
        case signal(Int32)
        /// It wrote more than it was allowed.
        case tooMuchOutput
    }

    private static let diagnosticsLimit = 4096

    public let output: SecretBuffer
    private let errors = SecretBuffer(limit: FilterProcess.diagnosticsLimit)

    private let processID: pid_t
    private var ending: Ending?
    private let process: FileDescriptor
    // Each is closed when there is nothing more to write or read.
    private var inputEnd: FileDescriptor?
    private var outputEnd: FileDescriptor?
    private var errorEnd: FileDescriptor?
    private let input: SecretBuffer
    private var written = 0

    /// Starts the program at `path` with `arguments`, its own name first, and with `environment` only.
    public init(
        _ path: String, arguments: [String], environment: [String], input: SecretBuffer, outputLimit: Int
    ) throws(SystemError) {
        let standardInput = try Pipe()
        let standardOutput = try Pipe()
        let standardError = try Pipe()
        try standardInput.writing.setNonBlocking()
        try standardOutput.reading.setNonBlocking()
        try standardError.reading.setNonBlocking()
        processID = try Self.spawn(
            path, arguments, environment,
            [standardInput.reading.number, standardOutput.writing.number, standardError.writing.number])
        let pidfd = cmandos_pidfd_open(processID)
        if pidfd < 0 {
            let error = SystemError("watching " + path)
            Self.endGroup(of: processID)
            throw error
        }
        process = FileDescriptor(owning: pidfd)
        self.input = input
        output = SecretBuffer(limit: outputLimit)
        inputEnd = consume standardInput.writing
        outputEnd = consume standardOutput.reading
        errorEnd = consume standardError.reading
    }

    deinit { if ending == nil { Self.endGroup(of: processID) } }

    /// What it said last on standard error; that line usually tells most.
    public var lastWords: String {
        unsafe errors.withBytes { bytes in
            let text = unsafe String(decoding: bytes, as: UTF8.self)
            return text.utf8.split(separator: UInt8(ascii: "\n")).last.map { String(Substring($0)) } ?? ""
        }
    }

    /// Waits for what ``advance()`` can act on.
    public func register(in set: inout PollSet) {
        set.add(process.number)
        if let end = inputEnd?.number { set.add(end, for: .writing) }
        if let end = outputEnd?.number { set.add(end) }
        if let end = errorEnd?.number { set.add(end) }
    }

    /// Gives it input and takes its output, as far as both are ready.
    ///
    /// - Returns: how it ended, once it has.
    public func advance() -> Ending? {
        if let ending { return ending }
        feed()
        if Self.drain(outputEnd?.number, into: output) { outputEnd = nil }
        if Self.drain(errorEnd?.number, into: errors) { errorEnd = nil }
        if output.isFull {
            Self.endGroup(of: processID)
            return end(.tooMuchOutput)
        }
        var status: Int32 = 0
        let ended = unsafe waitpid(processID, &status, WNOHANG)
        if ended == 0 || (ended < 0 && cmandos_errno() == EINTR) { return nil }
        // What it wrote before it ended may still be on its way.
        _ = Self.drain(outputEnd?.number, into: output)
        _ = Self.drain(errorEnd?.number, into: errors)
        // Whatever it left behind in its group must not outlive it.
        kill(-processID, SIGKILL)
        let signal = cmandos_ending_signal(status)
        return end(signal == 0 ? .exit(status: cmandos_exit_status(status)) : .signal(signal))
    }

    private func end(_ ending: Ending) -> Ending {
        self.ending = ending
        inputEnd = nil
        outputEnd = nil
        errorEnd = nil
        return ending
    }

    private func feed() {
        guard inputEnd != nil else { return }
        while written < input.count {
            let transfer = unsafe input.withBytes { bytes in
                try? unsafe inputEnd?.write(UnsafeRawBufferPointer(rebasing: bytes[written...]))
            }
            switch transfer {
            case .bytes(let count): written += count
            case .notReady: return
            // It does not want the rest; its exit status tells whether that is an error.
            case .end, nil: written = input.count
            }
        }
        inputEnd = nil
    }

    /// What does not fit is read and dropped, so that the program never blocks on us.
    ///
    /// - Returns: whether there is nothing more to read.
    private static func drain(_ descriptor: Int32?, into buffer: SecretBuffer) -> Bool {
        guard let descriptor else { return false }
        while true {
            var count = 0
            if buffer.isFull {
                count = unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) {
                    unsafe read(descriptor, $0.baseAddress, $0.count)
                }
            } else {
                unsafe buffer.append { room in
                    count = unsafe read(descriptor, room.baseAddress, min(room.count, buffer.limit - buffer.count))
                    return max(count, 0)
                }
            }
            if count == 0 { return true }
            if count < 0 && cmandos_errno() != EINTR { return cmandos_errno() != EAGAIN }
        }
    }

    private static func endGroup(of processID: pid_t) {
        kill(-processID, SIGKILL)
        _ = waitpid(processID, nil, 0)
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], _ descriptors: [Int32]
    ) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for (standard, descriptor) in descriptors.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(standard))
        }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))

        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        var processID: pid_t = 0
        let code = unsafe posix_spawn(
            &processID, path, &actions, &attributes, argumentList.pointers, environmentList.pointers)
        guard code == 0 else { throw SystemError("starting " + path, code: code) }
        return processID
    }
}

/// A null-terminated array of C strings, as exec(3) wants it.
@safe private struct CStringList: ~Copyable {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        unsafe pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() {
            unsafe (pointers + index).initialize(to: strdup(string))
        }
        unsafe (pointers + count).initialize(to: nil)
    }

    deinit {
        for index in 0..<count { unsafe free(pointers[index]) }
        unsafe pointers.deallocate()
    }
}
