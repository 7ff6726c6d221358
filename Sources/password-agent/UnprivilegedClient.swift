import CMandosSystem
import MandosFormats
import POSIXKit

/// A set-uid program that is run for another user, to get the password that it prints.
///
/// Only its real user and group are that user's: from these it knows who it becomes when it gives up what its file gives it.
/// It runs in a process group of its own, which ends with this object. Source: password-agent(8mandos) SECURITY.
final class UnprivilegedClient {
    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    /// How it ended.
    enum Ending: Equatable {
        case exit(status: Int32)
        case signal(Int32)
        /// It wrote more than it was allowed.
        case tooMuchOutput
    }

    /// In milliseconds. It may have a network to take down before it ends.
    private static let timeToEnd: Int64 = 10_000

    /// What it has written so far, after what was there before.
    let output: SecretBuffer

    private let processID: pid_t
    // Both until it has been waited for.
    private var watch: FileDescriptor?
    private var outputEnd: FileDescriptor?

    /// Starts the program at `path` with `arguments`, its own name first.
    ///
    /// What it writes is added to `output`; when that is full, it was too much. It reads nothing, and has our environment
    /// and standard error. For a process that still has one thread.
    init(
        _ path: String, arguments: [String], user: UInt32, group: UInt32, output: SecretBuffer
    ) throws(Problem) {
        self.output = output
        do throws(SystemError) {
            let nothing = try FileDescriptor.nothing()
            let pipe = try Pipe()
            // Ours alone: a program does not expect that it cannot write.
            try pipe.reading.setNonBlocking()
            let list = CStringList(arguments)
            var step = CMANDOS_CLIENT_FORK
            processID = unsafe cmandos_start_client(
                path, list.pointers, nothing.number, pipe.writing.number, user, group, &step)
            if processID < 0 {
                let code = cmandos_errno()
                throw SystemError(Self.explanation(of: step, path, user, group), code: code)
            }
            watch = try FileDescriptor.watching(processID, leadsGroup: true, "watching " + path)
            outputEnd = consume pipe.reading
        } catch {
            throw Problem(description: "\(error)")
        }
    }

    deinit { end() }

    private static func explanation(
        of step: cmandos_client_step, _ path: String, _ user: UInt32, _ group: UInt32
    ) -> String {
        if step == CMANDOS_CLIENT_IDS {
            return "running " + path + " as user " + String(user) + " and group " + String(group)
                + ", for which we have to be root"
        }
        return "starting " + path
    }

    /// Waits for what ``advance()`` can act on.
    func register(in set: inout PollSet) {
        if let number = watch?.number { set.add(number) }
        if let number = outputEnd?.number { set.add(number) }
    }

    /// Takes its output as far as it is there.
    ///
    /// - Returns: how it ended, once it has; nil again after that.
    func advance() -> Ending? {
        guard let number = watch?.number else { return nil }
        // Before its output, so that nothing it wrote before its end is missed.
        let hasEnded = isReadable(number)
        drain()
        if output.isFull {
            end()
            return .tooMuchOutput
        }
        return hasEnded ? reap() : nil
    }

    /// Asks all of the group to end, and ends what does not; waits for that.
    func end() {
        guard let number = watch?.number else { return }
        kill(-processID, SIGTERM)
        let deadline = BootTime.now().after(milliseconds: Self.timeToEnd)
        while !isReadable(number) && BootTime.now() < deadline {
            var set = PollSet()
            set.add(number)
            // It may still have something to say before it can end.
            if let number = outputEnd?.number { set.add(number) }
            set.limit(to: deadline)
            set.wait()
            drain()
        }
        _ = reap()
    }

    private func reap() -> Ending {
        // Before it has been waited for, so that the number is still its own: whatever it left behind in its group must not
        // outlive it.
        kill(-processID, SIGKILL)
        var status: Int32 = 0
        while unsafe waitpid(processID, &status, 0) < 0 && cmandos_errno() == EINTR {}
        watch = nil
        outputEnd = nil
        let signal = cmandos_ending_signal(status)
        return signal == 0 ? .exit(status: cmandos_exit_status(status)) : .signal(signal)
    }

    private func drain() {
        // Nobody reads what is too much: it sees that with its next write, and never waits for us.
        if output.drain(outputEnd?.number) || output.isFull { outputEnd = nil }
    }
}
