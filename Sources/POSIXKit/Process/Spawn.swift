import CMandosSystem

/// A call of posix_spawn(3): the program gets the named descriptors only, and no signal is blocked or ignored in it.
struct Spawn {
    let path: String
    /// The command line, program name first.
    let arguments: [String]
    let environment: [String]
    /// The program's standard input, output and error, and its descriptors from 3 on.
    let standard: [Int32]
    let directory: String?
    let group: ChildProcess.Group
    /// An open descriptor of the program, used if our user may not access `path`.
    let file: Int32?

    private static let maximumTries = 25
    /// Higher than every number of a descriptor that the program gets.
    private static let firstMoved: Int32 = 64

    func start() throws(SystemError) -> pid_t {
        do throws(SystemError) {
            return try start(path, standard)
        } catch {
            guard let file, error.code == EACCES else { throw error }
            return try start("/proc/self/fd/\(standard.count)", standard + [file])
        }
    }

    private func start(_ program: String, _ descriptors: [Int32]) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // A descriptor that one before it would replace is moved out of the way first.
        let moved = descriptors.enumerated().map { $1 < $0 ? Self.firstMoved + Int32($0) : $1 }
        for (old, new) in zip(descriptors, moved) where old != new {
            unsafe posix_spawn_file_actions_adddup2(&actions, old, new)
        }
        for (number, descriptor) in moved.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        }
        unsafe cmandos_spawn_close_from(&actions, Int32(descriptors.count))
        if let directory { unsafe cmandos_spawn_change_directory(&actions, directory) }
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
        let ownership: Int32 =
            switch group {
            case .inherited: 0
            case .own: POSIX_SPAWN_SETPGROUP
            case .ownSession: cmandos_spawn_in_session()
            }
        unsafe posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | ownership))

        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        var processID: pid_t = 0
        var code: Int32 = 0
        // ETXTBSY: a child that has not called exec yet may hold a just written program open for writing.
        for _ in 0..<Self.maximumTries {
            code = unsafe posix_spawn(
                &processID, program, &actions, &attributes, argumentList.pointers, environmentList.pointers)
            guard code == ETXTBSY else { break }
            _ = usleep(20_000)
        }
        guard code == 0 else { throw SystemError("starting " + path, code: code) }
        return processID
    }
}

/// A null-terminated array of C strings, as exec(3) takes it.
@safe public struct CStringList: ~Copyable {
    public let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    public let count: Int

    public init(_ strings: [String]) {
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
