public import CMandosSystem

/// How a program is started: with three descriptors and nothing else of ours, and no signal blocked or ignored.
public struct Spawn {
    /// What it gets signals with.
    public enum Belonging {
        case toOurGroup
        case toOwnGroup
        /// So that neither our terminal nor our end is its business.
        case toOwnSession
    }

    let path: String
    /// Its own name first.
    let arguments: [String]
    let environment: [String]
    /// Its standard input, output and error.
    let standard: [Int32]
    var directory: String?
    let belonging: Belonging
    /// One more that it gets, after the standard ones: what `path` goes through.
    var kept: Int32?

    private static let mostTries = 25

    public init(
        path: String, arguments: [String], environment: [String], standard: [Int32], directory: String? = nil,
        belonging: Belonging, kept: Int32? = nil
    ) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
        self.standard = standard
        self.directory = directory
        self.belonging = belonging
        self.kept = kept
    }

    public func start() throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let descriptors = standard + (kept.map { [$0] } ?? [])
        for (number, descriptor) in descriptors.enumerated() {
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
            switch belonging {
            case .toOurGroup: 0
            case .toOwnGroup: POSIX_SPAWN_SETPGROUP
            case .toOwnSession: cmandos_spawn_in_session()
            }
        unsafe posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | ownership))

        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        var processID: pid_t = 0
        var code: Int32 = 0
        // Somebody may be about to let go of a file that has just been written.
        for _ in 0..<Self.mostTries {
            code = unsafe posix_spawn(
                &processID, path, &actions, &attributes, argumentList.pointers, environmentList.pointers)
            guard code == ETXTBSY else { break }
            _ = usleep(20_000)
        }
        guard code == 0 else { throw SystemError("starting " + path, code: code) }
        return processID
    }
}

/// A null-terminated array of C strings, as exec(3) wants it.
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
