import CMandosSystem
import MandosFormats
import POSIXKit

/// A program that may be started again and again, also after we have given up the right to see where it is.
final class PluginFile {
    let path: String
    private let file: FileDescriptor

    /// Opens the program at `path`; nil if there is none that is a file and that somebody may run.
    init?(_ path: String) {
        guard isRegularExecutable(path), let file = try? FileDescriptor.openPath(path) else { return nil }
        self.path = path
        self.file = consume file
    }

    /// Starts it in our process group, so that it may ask at the terminal, and with our standard input; `arguments` with its
    /// own name first. What it says on standard error is ours to read if `takesErrors`, and goes where ours goes otherwise.
    func start(
        arguments: [String], environment: [String], takesErrors: Bool
    ) throws(SystemError) -> PluginProcess {
        let output = try Pipe()
        try output.reading.setNonBlocking()
        guard takesErrors else {
            let processID = try spawn(arguments, environment, output.writing.number, STDERR_FILENO)
            return try PluginProcess(processID, consume output.reading, nil)
        }
        let errors = try Pipe()
        try errors.reading.setNonBlocking()
        let processID = try spawn(arguments, environment, output.writing.number, errors.writing.number)
        return try PluginProcess(processID, consume output.reading, consume errors.reading)
    }

    private func spawn(
        _ arguments: [String], _ environment: [String], _ output: Int32, _ errors: Int32
    ) throws(SystemError) -> pid_t {
        var spawn = Spawn(
            path: path, arguments: arguments, environment: environment, standard: [STDIN_FILENO, output, errors],
            belonging: .toOurGroup)
        do throws(SystemError) {
            return try spawn.start()
        } catch {
            guard error.code == EACCES else { throw error }
        }
        // Its directory is closed to whom we have become.
        spawn = Spawn(
            path: "/proc/self/fd/3", arguments: arguments, environment: environment,
            standard: [STDIN_FILENO, output, errors], belonging: .toOurGroup, kept: file.number)
        do throws(SystemError) {
            return try spawn.start()
        } catch {
            throw SystemError("starting " + path, code: error.code)
        }
    }
}

/// A plugin that was started.
final class PluginProcess {
    let processID: pid_t
    private let watch: FileDescriptor
    private var output: FileDescriptor?
    private var errors: FileDescriptor?
    private var knownEnding: TerminationStatus?

    /// Starts a process of ours that does what a plugin does: what it prints is the password. For a process that still has
    /// one thread. Of our descriptors, it has the standard ones only.
    static func ofOurs(_ work: () -> Never) throws(SystemError) -> PluginProcess {
        let output = try Pipe()
        try output.reading.setNonBlocking()
        // Not by SIGKILL: it may have a terminal to put in order. Whoever started us may have had SIGTERM ignored.
        let processID = try forkProcess("starting a process", boundBy: SIGTERM)
        if processID == 0 {
            cmandos_default_signal(SIGTERM)
            _ = dup2(output.writing.number, STDOUT_FILENO)
            cmandos_close_range(UInt32(STDERR_FILENO) + 1, UInt32.max)
            work()
        }
        return try PluginProcess(processID, consume output.reading, nil)
    }

    fileprivate init(
        _ processID: pid_t, _ output: consuming FileDescriptor, _ errors: consuming FileDescriptor?
    ) throws(SystemError) {
        watch = try FileDescriptor.watching(processID, leadsGroup: false, "watching a plugin")
        self.processID = processID
        self.output = consume output
        self.errors = consume errors
    }

    func register(in set: inout PollSet) {
        if knownEnding == nil { set.add(watch.number) }
        if let number = output?.number { set.add(number) }
        if let number = errors?.number { set.add(number) }
    }

    /// How it ended, once it has.
    func ending() -> TerminationStatus? {
        knownEnding = knownEnding ?? ChildProcess.ending(of: processID)
        return knownEnding
    }

    /// Whether somebody may still write to its standard output.
    var mayPrint: Bool { output != nil }

    /// Takes what it has printed.
    func drainOutput(into buffer: SecretBuffer) {
        if buffer.drain(output?.number) { output = nil }
    }

    /// Takes what it has said on standard error.
    func drainErrors(into buffer: SecretBuffer) {
        if buffer.drain(errors?.number) { errors = nil }
    }

    /// Asks it to end.
    func terminate() { if knownEnding == nil { kill(processID, SIGTERM) } }

    /// Ends it.
    func end() { if knownEnding == nil { kill(processID, SIGKILL) } }
}
