import CMandosSystem

/// A program that goes on in the background, once it works.
///
/// The program that was started waits until then: what goes wrong before is still said on the terminal, and is in the
/// exit status.
public struct Daemon: ~Copyable {
    private let ready: FileDescriptor

    /// Forks twice and leaves session and directory; only the last process returns, the first waits for
    /// ``isReady()`` and exits 0, or 1 if that never comes.
    ///
    /// For a process that still has one thread.
    public static func begin() throws(SystemError) -> Daemon {
        let action = "going into the background"
        let pipe = try Pipe()
        if try forkProcess(action) != 0 {
            waitAndExit(reading: consume pipe)
        }
        try SystemError.check("leaving the session", setsid())
        if try forkProcess(action) != 0 { _exit(0) }
        try SystemError.check("leaving the directory", unsafe chdir("/"))
        return Daemon(ready: consume pipe.writing)
    }

    /// It works: gives up the terminal, and lets the program that was started end.
    public consuming func isReady() throws(SystemError) {
        let null = try FileDescriptor.nothing()
        for number in STDIN_FILENO...STDERR_FILENO {
            try SystemError.check("giving up the terminal", dup2(null.number, number))
        }
        let byte: [UInt8] = [1]
        _ = try unsafe byte.withUnsafeBufferPointer {
            (bytes) throws(SystemError) in try unsafe ready.write(UnsafeRawBufferPointer(bytes))
        }
    }

    private static func waitAndExit(reading pipe: consuming Pipe) -> Never {
        let reading = consume pipe.reading
        var byte: UInt8 = 0
        let transfer = unsafe withUnsafeMutableBytes(of: &byte) { try? unsafe reading.read(into: $0) }
        _exit(transfer == .bytes(1) ? 0 : 1)
    }
}
