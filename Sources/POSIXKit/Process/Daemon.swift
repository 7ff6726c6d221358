import CMandosSystem

/// Moves the program into the background once it is ready; see daemon(7).
///
/// The original process waits until then: an earlier failure still appears on the terminal and in the exit status.
public struct Daemon: ~Copyable {
    private let ready: FileDescriptor

    /// Forks twice and leaves the session and the directory. Only the last process returns; the first waits for
    /// ``isReady()`` and exits 0, or 1 if the last one ends before that.
    ///
    /// Only for a single-threaded process.
    public static func begin() throws(SystemError) -> Daemon {
        let action = "going into the background"
        let pipe = try Pipe()
        if try SystemError.check(action, cmandos_fork()) != 0 { waitAndExit(reading: consume pipe) }
        try SystemError.check("leaving the session", setsid())
        if try SystemError.check(action, cmandos_fork()) != 0 { _exit(0) }
        try SystemError.check("leaving the directory", unsafe chdir("/"))
        return Daemon(ready: consume pipe.writing)
    }

    /// Redirects the standard descriptors to /dev/null, and lets the original process exit.
    public consuming func isReady() throws(SystemError) {
        let null = try FileDescriptor.nothing()
        for number in STDIN_FILENO...STDERR_FILENO {
            try SystemError.check("giving up the terminal", dup2(null.number, number))
        }
        try ready.send(1)
    }

    private static func waitAndExit(reading pipe: consuming Pipe) -> Never {
        let reading = consume pipe.reading
        _exit((try? reading.receiveByte()) != nil ? 0 : 1)
    }
}
