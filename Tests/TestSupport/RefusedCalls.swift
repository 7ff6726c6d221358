public import Testing

/// System calls that the kernel refuses, as an old kernel or a sandbox does.
public struct RefusedCalls: Sendable, CustomTestStringConvertible {
    /// Each as `NAME=ERROR`, or `NAME(ARGUMENT==VALUE)=ERROR`, or `NAME(ARGUMENT&BITS)=ERROR`.
    public let rules: [String]

    /// Without rules, nothing is refused.
    public init(_ rules: String...) { self.rules = rules }

    public var testDescription: String { rules.joined(separator: " ") }

    /// What is missing on the kernels that are to be supported, each alone, and all together.
    public static let ofOldKernels = [
        RefusedCalls("pidfd_open=ENOSYS"), RefusedCalls("close_range=ENOSYS"),
        // Linux 5.9 and 5.10: no CLOSE_RANGE_CLOEXEC.
        RefusedCalls("close_range(2&4)=EINVAL"),
        RefusedCalls("clone3=ENOSYS", "openat2=ENOSYS", "faccessat2=ENOSYS", "statx=ENOSYS"),
        RefusedCalls(
            "pidfd_open=EPERM", "close_range=ENOSYS", "clone3=ENOSYS", "openat2=ENOSYS", "faccessat2=ENOSYS",
            "statx=ENOSYS"),
    ]

    /// The program to start, and its arguments, for `program` with `arguments`, whose children are refused the calls too.
    public func command(_ program: String, _ arguments: [String]) -> (path: String, arguments: [String]) {
        if rules.isEmpty { return (program, arguments) }
        return ("/usr/bin/python3", ["-c", Self.launcher] + rules + ["--", program] + arguments)
    }

    /// Sets a filter (seccomp(2)), and executes the arguments after "--".
    public static let launcher = #"""
        import ctypes, errno, os, re, struct, sys
        numbers = dict(pidfd_open=434, clone3=435, close_range=436, openat2=437, faccessat2=439)
        numbers |= dict(socket=41, statx=332, ioctl=16) if os.uname().machine == 'x86_64' else dict(socket=198, statx=291, ioctl=29)
        def op(code, true, false, value): return struct.pack('=HBBI', code, true, false, value)
        LOAD, EQUAL, ANY, RETURN = 0x20, 0x15, 0x45, 0x06
        program = b''
        split = sys.argv.index('--')
        for rule in sys.argv[1:split]:
            name, argument, test, value, error = re.fullmatch(r'(\w+)(?:\((\d)(==|&)(\d+)\))?=(\w+)', rule).groups()
            refuse = op(RETURN, 0, 0, 0x50000 | getattr(errno, error))
            if argument: refuse = op(LOAD, 0, 0, 16 + 8 * int(argument)) + op(EQUAL if test == '==' else ANY, 0, 1, int(value)) + refuse
            program += op(LOAD, 0, 0, 0) + op(EQUAL, 0, len(refuse) // 8, numbers[name]) + refuse
        program += op(RETURN, 0, 0, 0x7fff0000)
        code = ctypes.create_string_buffer(program)
        filter = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(code))
        libc = ctypes.CDLL(None, use_errno=True)
        PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
        if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.c_char_p(filter), 0, 0) != 0:
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.c_char_p(filter), 0, 0) != 0: sys.exit('no filter: %d' % ctypes.get_errno())
        os.execv(sys.argv[split + 1], sys.argv[split + 1:])
        """#
}
