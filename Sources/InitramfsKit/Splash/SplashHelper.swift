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
    private static let longestEndOfQuestion: Int64 = 1000
    // A theme may want to end an animation first.
    private static let longestQuit: Int64 = 5000
    private static let longestTermination: Int64 = 2000
    private static let longestKill: Int64 = 1000
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
        guard let found = FoundProcess.ofRoot(running: screen.daemon) else {
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

    private func ask(_ daemon: borrowing FoundProcess, _ socket: borrowing FileDescriptor, _ output: Int32) -> Outcome {
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
            if let ending = process.endingWithGroup() {
                debug(question.path + " ended: " + Self.describe(ending))
                say(ending == .exit(status: 0) ? .answered : .failed, on: socket)
                return .settled
            }
            var set = PollSet()
            set.add(process.descriptor)
            set.add(socket.number)
            set.wait()
            if set.isReady(socket.number) && !set.isReady(process.descriptor) { break }
        }
        debug("nobody waits for the answer any more; ending " + question.path)
        end(process)
        return .abandoned
    }

    /// Waits for the other process, which asks by itself, to have its answer.
    private func watch(_ daemon: borrowing FoundProcess, _ socket: borrowing FileDescriptor) -> Outcome {
        var set = PollSet()
        set.add(socket.number)
        set.add(daemon.descriptor)
        while !set.isReady(socket.number) && !set.isReady(daemon.descriptor) { set.wait() }
        if set.isReady(socket.number) {
            var byte: UInt8 = 0
            let transfer = unsafe withUnsafeMutableBytes(of: &byte) { try? unsafe socket.read(into: $0) }
            return transfer == .bytes(1) ? .settled : .abandoned
        }
        say(.failed, on: socket)
        return .settled
    }

    private func end(_ process: borrowing ChildProcess) {
        kill(process.processID, SIGTERM)
        guard waitFor(process.descriptor, milliseconds: Self.longestEndOfQuestion) else { return process.endGroup() }
        _ = process.endingWithGroup()
    }

    // MARK: The daemon

    private func isRunning() -> Bool {
        guard let ping = screen.ping else { return true }
        return run(ping, milliseconds: Self.longestPing)
    }

    private func restart(_ former: borrowing FoundProcess) {
        // With it, the question is gone; whoever has started another one wants that.
        if former.hasEnded { return }
        former.takeLimits()
        guard hasEnded(former) else { return tell(screen.daemon + " does not end; it goes on asking") }
        let arguments =
            switch screen.arguments {
            // Plymouth changes its own name in there, to tell others not to end it.
            case .asBefore: Array(former.arguments.dropFirst())
            case .these(let arguments): arguments
            }
        do throws(SystemError) {
            debug("starting " + ([screen.daemon] + arguments).joined(separator: " "))
            let nothing = try FileDescriptor.nothing()
            let started = try ChildProcess.start(
                screen.daemon, arguments: [screen.daemon] + arguments, environment: Self.environment,
                standard: [nothing.number, nothing.number, nothing.number], directory: "/", outlivesUs: true)
            switch screen.showing {
            case .nothing: break
            case .command(let command):
                // It goes into the background by itself: then what was started has ended.
                if waitFor(started.descriptor, milliseconds: Self.longestStart) { _ = started.ending() }
                _ = run(command, milliseconds: Self.longestShowing)
            case .write(let bytes, let path): write(bytes, toFIFO: path)
            }
        } catch {
            tell("\(error)")
        }
    }

    /// Ends it, ever more firmly.
    private func hasEnded(_ former: borrowing FoundProcess) -> Bool {
        if case .command(let command) = screen.quitting, run(command, milliseconds: Self.longestQuit),
            former.wait(milliseconds: Self.longestQuit)
        {
            return true
        }
        for (signal, limit) in [(SIGTERM, Self.longestTermination), (SIGKILL, Self.longestKill)] {
            do throws(SystemError) {
                try former.signal(signal)
            } catch {
                tell("\(error)")
            }
            if former.wait(milliseconds: limit) { return true }
        }
        return false
    }

    /// Opening a FIFO waits for somebody who reads: for that, there is a process.
    private func write(_ bytes: [UInt8], toFIFO path: String) {
        guard let writer = try? forkProcess("starting a process") else { return }
        guard writer == 0 else {
            while waitpid(writer, nil, 0) < 0 && cmandos_errno() == EINTR {}
            return
        }
        cmandos_default_signal(SIGALRM)
        _ = alarm(UInt32(Self.longestShowing / 1000))
        if let fifo = try? FileDescriptor.open(path, O_WRONLY | O_NOFOLLOW) {
            _ = unsafe bytes.withUnsafeBytes { try? unsafe fifo.write($0) }
        }
        _exit(0)
    }

    // MARK: Programs

    /// - Returns: whether it succeeded, within that time.
    private func run(_ command: SplashScreen.Command, milliseconds: Int64) -> Bool {
        // Our own standard output leads nowhere.
        guard let process = start(command, output: STDOUT_FILENO) else { return false }
        guard waitFor(process.descriptor, milliseconds: milliseconds) else {
            process.endGroup()
            debug(command.path + " took too long, and was ended")
            return false
        }
        let ending = process.endingWithGroup()
        if let ending { debug(command.path + " ended: " + Self.describe(ending)) }
        return ending == .exit(status: 0)
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

    private static func describe(_ ending: TerminationStatus) -> String {
        switch ending {
        case .exit(let status): "exit status \(status)"
        case .signal(let number): "signal \(number)"
        }
    }

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
        let bytes = [message.rawValue]
        // If nobody hears it, the next wait tells.
        _ = unsafe bytes.withUnsafeBytes { try? unsafe socket.write($0) }
    }
}
