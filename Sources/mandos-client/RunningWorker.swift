import CMandosSystem
import MandosClient
import MandosFormats
import POSIXKit

/// A worker, the process that looks for servers for it, and what connects the three of us.
struct RunningWorker: ~Copyable {
    /// The reason to stop watching them.
    enum End {
        case password(SecretBuffer)
        case signal(Int32)
        /// The worker has ended without a password.
        case end
    }

    private let process: ChildProcess
    private var handover: PasswordHandover
    private let discovery: RunningDiscovery?

    init(_ supervisor: Supervisor) throws(SystemError) {
        let pipe = try Pipe.make(nonBlocking: .reading)
        let servers = try SocketPair()
        // If we are killed, nobody but the worker can remove what it has made.
        process = try ChildProcess.fork("a process", boundBy: SIGTERM) {
            supervisor.work(pipe.writing.number, servers.second.number)
        }
        handover = PasswordHandover(pipe.keepReading())
        let looksForServers = supervisor.settings.connect == nil
        discovery = looksForServers ? RunningDiscovery(supervisor, over: servers.keepFirst()) : nil
    }

    mutating func run(until stop: borrowing StopSignals) -> End {
        while true {
            // Before reading, so that nothing from before the end is missed.
            let hasEnded = process.hasEnded
            if let password = handover.receive() { return .password(password) }
            if hasEnded { return .end }
            if let signal = stop.next() { return .signal(signal) }
            // No process is started that has a part of the password in its memory.
            if !handover.hasBegun { discovery?.advance(at: .now()) }
            var set = PollSet()
            stop.register(in: &set)
            set.add(process.descriptor)
            handover.register(in: &set)
            discovery?.register(in: &set)
            set.wait()
        }
    }

    /// Ends both processes.
    ///
    /// - Returns: how the worker has ended.
    consuming func end() -> TerminationStatus { process.end() }
}

/// The process that looks for servers; when it has ended, it is started again. It is killed when this object is freed.
final class RunningDiscovery {
    private let supervisor: Supervisor
    private let socket: FileDescriptor
    private var process: ChildProcess?
    private var due = BootTime.now()
    private var ends = 0
    /// The next number of ends to report: 1, 10, 100 and so on, since a hostile neighbour may cause one every second.
    private var nextReport = 1

    /// `socket` is that process's end of a ``SocketPair``.
    init(_ supervisor: Supervisor, over socket: consuming FileDescriptor) {
        self.supervisor = supervisor
        self.socket = socket
    }

    deinit { _ = process?.end() }

    func register(in set: inout PollSet) {
        if let descriptor = process?.descriptor { set.add(descriptor) } else { set.limit(to: due) }
    }

    func advance(at now: BootTime) {
        if process?.hasEnded ?? false {
            // It ends with success when its worker has ended.
            if let status = process.take()?.waitForStatus(), status != .success { report("has ended with \(status)") }
            due = now.after(milliseconds: Supervisor.pauseAfterEnd)
        }
        guard process == nil, due <= now else { return }
        do throws(SystemError) {
            process = try DiscoveryProcess.start(
                over: socket, on: supervisor.settings.selection, user: supervisor.user.user,
                group: supervisor.user.group, isVerbose: supervisor.settings.debug)
        } catch {
            report("cannot be started: \(error)")
            due = now.after(milliseconds: Supervisor.pauseAfterEnd)
        }
    }

    private func report(_ problem: String) {
        ends += 1
        guard ends == nextReport else { return }
        let count = ends == 1 ? "" : " (\(ends) times so far)"
        nextReport *= 10
        complain(supervisor.program, "the process that looks for servers " + problem + count + "; trying again")
    }
}
