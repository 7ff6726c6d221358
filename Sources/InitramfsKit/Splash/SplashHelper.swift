import CMandosSystem
import MandosFormats
import POSIXKit

/// Does as root what a splash screen needs root for, in a process of its own: runs the program that asks, and if nobody is
/// there any more to hear the answer, ends the daemon and starts it again.
///
/// It hears from the other process only that it is gone, or has its answer. What is run is named in the program; the only
/// thing in it that the caller chooses is the prompt, one argument. Of the caller's environment, directory, umask, groups
/// and limits nothing comes to what is run as root.
///
/// Source: plymouth(8mandos), splashy(8mandos), usplash(8mandos), "DESCRIPTION" and "SECURITY".
struct SplashHelper {
    let screen: SplashScreen
    let tell: (String) -> Void
    let debug: (String) -> Void

    // In milliseconds, and each the worst case: what behaves takes a few of them.
    private static let longestPing: Int64 = 5000
    private static let questionTeardown = Teardown(termination: 1000)
    // A theme may want to end an animation first.
    private static let longestQuit: Int64 = 5000
    private static let daemonTeardown = Teardown(termination: 2000, kill: 1000)
    private static let longestStart: Int64 = 5000
    private static let longestShowing: Int64 = 5000

    private static let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]

    /// What it tells the other process, one message each.
    enum Message: UInt8 {
        case notRunning
        /// It runs; if there is a program that asks, that runs too.
        case ready
        case cannotAsk
        case answered
        /// The program that asks failed.
        case failed
    }

    /// Serves until there is an answer, or nobody to hear it. `output`, a descriptor, is where the password goes.
    func serve(_ socket: borrowing FileDescriptor, output: Int32) {
        guard becomeRootAlone(), isRunning() else { return say(.notRunning, on: socket) }
        // Whoever else answers a ping may want to give a wrong password.
        guard let found = ForeignProcess.ofRoot(running: screen.daemon) else {
            debug("no process of root's runs " + screen.daemon)
            return say(.notRunning, on: socket)
        }
        switch ask(found, socket, output) {
        case .settled: break
        case .abandoned: restart(found)
        }
    }

    /// How a question ended.
    private enum Outcome {
        /// With or without an answer, nobody is asked any more.
        case settled
        /// The daemon goes on asking, and nobody waits for the answer.
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
        // Only the program that asks has it now, so that its end is the end of the password.
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
            set.wait()
            if set.isReady(socket.number) && !set.isReady(process.descriptor) { break }
        }
        debug("nobody waits for the answer any more; ending " + question.path)
        process.end(by: Self.questionTeardown)
        return .abandoned
    }

    /// Waits for the other process, which asks by itself, to have its answer.
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
        // Plymouth changes its own name in there, to tell others not to end it.
        let formerArguments = former.arguments.dropFirst()
        // With it, the question is gone; another one was started on purpose.
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
                // It goes into the background by itself: then what was started has ended.
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

    /// Ends it, ever more firmly.
    private func hasEnded(_ former: borrowing ForeignProcess) -> Bool {
        if case .command(let command) = screen.quitting, run(command, milliseconds: Self.longestQuit),
            former.wait(until: Self.deadline(Self.longestQuit))
        {
            return true
        }
        return former.end(by: Self.daemonTeardown, report: tell)
    }

    /// Opening a FIFO waits for somebody who reads: for that, there is a process.
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

    /// - Returns: whether it succeeded, within that time.
    private func run(_ command: SplashScreen.Command, milliseconds: Int64) -> Bool {
        // Our own standard output leads nowhere.
        guard let process = start(command, output: STDOUT_FILENO) else { return false }
        let hasEnded = waitUntilReadable(process.descriptor, until: Self.deadline(milliseconds))
        let status = process.end()
        debug(command.path + (hasEnded ? " ended: \(status)" : " took too long, and was killed"))
        return hasEnded && status.isSuccess
    }

    /// - Returns: nil if it cannot be started; why, is said.
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

    /// Root in every sense, if we are root at all: programs ask who started them.
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
        // If nobody hears it, the next wait tells.
        try? socket.send(message.rawValue)
    }
}
