import CMandosSystem
import MandosFormats
import POSIXKit

/// Performs the privileged part of a prompt on a splash screen, in a separate process: runs the prompting program, and
/// if the unprivileged process ends before it has the answer, ends the daemon and starts it again.
///
/// The unprivileged process can only end, or say that it has its answer. The programs run here are fixed in the code,
/// except one argument, the prompt, chosen by the caller. The caller's environment, directory, umask, groups and limits
/// do not reach programs run as root.
///
/// Source: plymouth(8mandos), splashy(8mandos), usplash(8mandos), "DESCRIPTION" and "SECURITY".
struct SplashHelper {
    let screen: SplashScreen
    let tell: (String) -> Void
    let debug: (String) -> Void

    // Time limits in milliseconds, for the worst case: well-behaved programs take a few milliseconds.
    private static let longestPing: Int64 = 5000
    /// For the prompting program, to pass on an answer after which the daemon has ended.
    private static let longestFarewell: Int64 = 1000
    private static let questionTeardown = Teardown(termination: 1000)
    // A theme may finish an animation first.
    private static let longestQuit: Int64 = 5000
    private static let daemonTeardown = Teardown(termination: 2000, kill: 1000)
    private static let longestStart: Int64 = 5000
    private static let longestShowing: Int64 = 5000
    /// The sum of those from the end of the prompting program on, with one second for each teardown.
    static let longestRestoration = 1000 + 2 * longestQuit + 3000 + longestStart + longestShowing

    private static let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]

    /// A message to the unprivileged process, of one byte.
    enum Message: UInt8 {
        case notRunning
        /// The splash screen is running, and so is the prompting program, if there is one.
        case ready
        case cannotAsk
        case answered
        /// The prompting program failed, or the daemon ended.
        case failed
    }

    /// Serves until the prompt is answered, fails, or the unprivileged process ends. The password goes to the
    /// descriptor `output`.
    func serve(_ socket: borrowing FileDescriptor, output: Int32) {
        guard becomeRootAlone(), isRunning() else { return say(.notRunning, on: socket) }
        // A process of another user might answer the ping in order to supply a wrong password.
        guard let found = ForeignProcess.ofRoot(running: screen.daemon) else {
            debug("no process of root's runs " + screen.daemon)
            return say(.notRunning, on: socket)
        }
        switch ask(found, socket, output) {
        case .settled: break
        case .abandoned: restart(found)
        }
    }

    /// The result of a prompt.
    private enum Outcome {
        /// The prompt has ended, with or without an answer.
        case settled
        /// The daemon still shows the prompt, but no process waits for the answer.
        case abandoned
    }

    private func ask(_ daemon: borrowing ForeignProcess, _ socket: borrowing FileDescriptor, _ output: Int32) -> Outcome
    {
        guard let question = screen.question else {
            say(.ready, on: socket)
            return watch(daemon, socket)
        }
        guard let process = start(question, output: output) else {
            say(.cannotAsk, on: socket)
            return .settled
        }
        // Closed here: the end of the prompting program is then the end of file for the reader of the password.
        _ = FileDescriptor(owning: output)
        say(.ready, on: socket)
        while true {
            if let status = process.statusEndingGroup() {
                debug(question.path + " ended: \(status)")
                say(status.isSuccess ? .answered : .failed, on: socket)
                return .settled
            }
            var set = PollSet()
            set.add(process.descriptor)
            set.add(socket.number)
            set.add(daemon.descriptor)
            set.wait()
            if set.isReady(process.descriptor) { continue }
            if set.isReady(socket.number) { break }
            // Nothing answers the prompting program any more, which may not notice.
            if daemon.hasEnded, !waitUntilReadable(process.descriptor, until: Self.deadline(Self.longestFarewell)) {
                debug(screen.daemon + " has ended; ending " + question.path)
                process.end(by: Self.questionTeardown)
                say(.failed, on: socket)
                return .settled
            }
        }
        debug("nobody waits for the answer any more; ending " + question.path)
        process.end(by: Self.questionTeardown)
        return .abandoned
    }

    /// Waits until the unprivileged process, which prompts by itself, reports its answer or ends, or the daemon ends.
    private func watch(_ daemon: borrowing ForeignProcess, _ socket: borrowing FileDescriptor) -> Outcome {
        var set = PollSet()
        set.add(socket.number)
        set.add(daemon.descriptor)
        while !set.isReady(socket.number) && !set.isReady(daemon.descriptor) { set.wait() }
        if set.isReady(socket.number) {
            return (try? socket.receiveByte()) != nil ? .settled : .abandoned
        }
        say(.failed, on: socket)
        return .settled
    }

    // MARK: The daemon

    private func isRunning() -> Bool {
        guard let ping = screen.ping else { return true }
        return run(ping, milliseconds: Self.longestPing)
    }

    private func restart(_ former: borrowing ForeignProcess) {
        // Without the program name, which Plymouth changes to tell others not to kill it.
        let formerArguments = former.arguments.dropFirst()
        // The prompt ended with the daemon; if another daemon runs, it was started on purpose.
        if former.hasEnded { return }
        former.takeLimits()
        guard hasEnded(former) else { return tell(screen.daemon + " does not end; it goes on asking") }
        let arguments =
            switch screen.arguments {
            case .asBefore: Array(formerArguments)
            case .these(let arguments): arguments
            }
        do throws(SystemError) {
            debug("starting " + ([screen.daemon] + arguments).joined(separator: " "))
            let nothing = try FileDescriptor.nothing()
            let started = try ChildProcess.start(
                screen.daemon, arguments: [screen.daemon] + arguments, environment: Self.environment,
                standard: [nothing.number, nothing.number, nothing.number], directory: "/", group: .ownSession)
            switch screen.showing {
            case .nothing: break
            case .command(let command):
                // The daemon moves to the background, which ends the process that we started.
                if waitUntilReadable(started.descriptor, until: Self.deadline(Self.longestStart)) {
                    _ = started.status()
                }
                _ = run(command, milliseconds: Self.longestShowing)
            case .write(let bytes, let path): write(bytes, toFIFO: path)
            }
        } catch {
            tell("\(error)")
        }
    }

    /// Ends the daemon: by its own command, then by signals.
    private func hasEnded(_ former: borrowing ForeignProcess) -> Bool {
        if case .command(let command) = screen.quitting, run(command, milliseconds: Self.longestQuit),
            former.wait(until: Self.deadline(Self.longestQuit))
        {
            return true
        }
        return former.end(by: Self.daemonTeardown, report: tell)
    }

    /// Writes to a FIFO in a separate process, since opening it waits for a reader.
    private func write(_ bytes: [UInt8], toFIFO path: String) {
        let writer = try? ChildProcess.fork("a process that writes to " + path) {
            cmandos_default_signal(SIGALRM)
            _ = alarm(UInt32(Self.longestShowing / 1000))
            if let fifo = try? FileDescriptor.open(path, O_WRONLY | O_NOFOLLOW) { _ = try? fifo.write(bytes) }
            _exit(0)
        }
        _ = writer?.waitForStatus()
    }

    // MARK: Programs

    /// - Returns: whether the command succeeded in time.
    private func run(_ command: SplashScreen.Command, milliseconds: Int64) -> Bool {
        // Our standard output is /dev/null.
        guard let process = start(command, output: STDOUT_FILENO) else { return false }
        let hasEnded = waitUntilReadable(process.descriptor, until: Self.deadline(milliseconds))
        let status = process.end()
        debug(command.path + (hasEnded ? " ended: \(status)" : " took too long, and was killed"))
        return hasEnded && status.isSuccess
    }

    /// - Returns: nil if the program cannot be started; the reason is reported.
    private func start(_ command: SplashScreen.Command, output: Int32) -> ChildProcess? {
        debug("running " + ([command.path] + command.arguments).joined(separator: " "))
        do throws(SystemError) {
            return try ChildProcess.start(
                command.path, arguments: [command.path] + command.arguments, environment: Self.environment,
                standard: [STDIN_FILENO, output, STDERR_FILENO], directory: "/")
        } catch {
            tell("\(error)")
            return nil
        }
    }

    private static func deadline(_ milliseconds: Int64) -> BootTime { .now().after(milliseconds: milliseconds) }

    /// Sets all our user and group IDs to root's, if we are root: programs check their real user.
    private func becomeRootAlone() -> Bool {
        guard Hardening.isRoot else { return true }
        do throws(SystemError) {
            try Hardening.become(user: 0, group: 0, isDroppingGroups: true)
        } catch {
            tell("\(error)")
            return false
        }
        Hardening.setPlainSurroundings()
        return true
    }

    private func say(_ message: Message, on socket: borrowing FileDescriptor) {
        // If the other process has ended, the next wait notices.
        try? socket.send(message.rawValue)
    }
}
