import CMandosSystem
import MandosFormats
import POSIXKit

/// The right to prompt at a terminal, which one of our processes has at a time.
///
/// It is an abstract socket address with the terminal's device number, and is given up when the socket is closed, for whatever
/// reason. A lock, as of flock(2), would be shared by all programs that a shell has started at the terminal, is another one for
/// /dev/tty and for /dev/console, and could not be taken by plugins, which may not open the console.
enum TerminalClaim {
    /// How long a prompt waits for another one at the same terminal, in milliseconds. The other one may hang; or somebody may
    /// hold the claim to keep people from typing.
    private static let longestWait: Int64 = 60_000
    /// In milliseconds.
    static let pause: Int64 = 100

    /// Claims the terminal `descriptor`.
    ///
    /// - Returns: nil if another process has claimed it. A descriptor that cannot be claimed is no terminal, or there are no
    ///   sockets; it is then used without a claim.
    static func take(on descriptor: Int32) -> FileDescriptor? {
        let number = cmandos_claim_terminal(descriptor)
        if number < 0 && cmandos_errno() == EADDRINUSE { return nil }
        return FileDescriptor(owning: number)
    }

    /// A prompt's turn at its terminal.
    enum Turn: ~Copyable {
        /// The claim; nil if another process has kept it for too long.
        case ours(FileDescriptor?)
        case stopped(signal: Int32)
    }

    /// Claims the terminal, and waits for the end of another prompt there.
    static func waitForTurn(on descriptor: Int32, until stop: borrowing StopSignals) -> Turn {
        let deadline = BootTime.now().after(milliseconds: longestWait)
        while true {
            let claim = take(on: descriptor)
            let now = BootTime.now()
            if claim.number != nil || now >= deadline { return .ours(claim) }
            HiddenInput.ignoreStopping()
            var set = PollSet()
            stop.register(in: &set)
            set.limit(to: now.after(milliseconds: pause))
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
        }
    }
}
