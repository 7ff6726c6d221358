import CMandosSystem
import MandosFormats
import POSIXKit

/// A program that can be started again and again, also after we have given up the right to reach its directory.
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
    /// own name first. Its standard error is captured if `capturesErrors`, and is ours otherwise.
    func start(
        arguments: [String], environment: [String], capturesErrors: Bool
    ) throws(SystemError) -> PluginProcess {
        let pipes = try ChildPipes.make(capturesErrors: capturesErrors)
        let process = try ChildProcess.start(
            path, arguments: arguments, environment: environment, standard: [STDIN_FILENO] + pipes.standard.dropFirst(),
            group: .inherited, file: file.number)
        return PluginProcess(process, pipes)
    }
}

/// A plugin's process, and its output, which may outlive it.
final class PluginProcess {
    private let process: ChildProcess
    private var output: ChildOutput
    private var errors: ChildOutput
    private var status: TerminationStatus?

    /// Starts a process of this program that does what a plugin does: its output is the password. For a process that still
    /// has one thread. Of our descriptors, it has the standard ones only.
    static func fork(_ work: () -> Never) throws(SystemError) -> PluginProcess {
        let pipes = try ChildPipes.make(capturesErrors: false)
        let output = pipes.standard[1]
        // Not by SIGKILL: it may have a terminal to restore. The program that started us may ignore SIGTERM.
        let process = try ChildProcess.fork("a process", boundBy: SIGTERM) {
            cmandos_default_signal(SIGTERM)
            _ = dup2(output, STDOUT_FILENO)
            cmandos_close_range(UInt32(STDERR_FILENO) + 1, UInt32.max)
            work()
        }
        return PluginProcess(process, pipes)
    }

    fileprivate init(_ process: consuming ChildProcess, _ pipes: consuming ChildPipes) {
        self.process = process
        output = ChildOutput(pipes.output.take())
        errors = ChildOutput(pipes.errors.take())
    }

    func register(in set: inout PollSet) {
        if status == nil { set.add(process.descriptor) }
        output.register(in: &set)
        errors.register(in: &set)
    }

    /// - Returns: how it ended, once it has.
    func collectStatus() -> TerminationStatus? {
        if status == nil { status = process.status() }
        return status
    }

    /// Whether a process may still write to its standard output.
    var mayPrint: Bool { output.isOpen }

    func drainOutput(into buffer: SecretBuffer) { output.drain(into: buffer) }

    func drainErrors(into buffer: SecretBuffer) { errors.drain(into: buffer) }

    func signal(_ number: Int32) { if status == nil { process.signal(number) } }
}
