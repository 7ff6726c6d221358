import CMandosSystem
import InitramfsKit
import MandosFormats
import POSIXKit

/// A plugin's program, held open so that it can be started after we have lost access to its directory.
final class PluginFile {
    let path: String
    private let file: FileDescriptor

    /// Opens the program at `path`; nil if that is not a regular file that its owner may execute.
    init?(_ path: String) {
        guard isRegularExecutable(path), let file = try? FileDescriptor.openPath(path) else { return nil }
        self.path = path
        self.file = consume file
    }

    /// Starts it in our process group, so that it may read from the terminal, with our standard input; `arguments`
    /// begin with its name. Its standard error is captured if `capturesErrors`, and is ours otherwise. It declares its
    /// role through the descriptor ``PluginProcess/roleDescriptor``.
    func start(
        arguments: [String], environment: [String], capturesErrors: Bool
    ) throws(SystemError) -> PluginProcess {
        let pipes = try ChildPipes.make(inheritsInput: true, capturesErrors: capturesErrors)
        let roles = try Pipe.make(nonBlocking: .reading)
        let process = try ChildProcess.start(
            path, arguments: arguments, environment: environment, standard: pipes.standard + [roles.writing.number],
            group: .inherited, file: file.number)
        return PluginProcess(process, pipes, RolePipe(roles.keepReading()))
    }
}

/// A plugin's process and the pipes from it, which other processes may hold open after its end.
final class PluginProcess {
    private let process: ChildProcess
    private var output: ChildOutput
    private var errors: ChildOutput
    private var roles: RolePipe
    private var status: TerminationStatus?

    /// A plugin's descriptor for declaring its role: the first one after the standard descriptors.
    static let roleDescriptor = STDERR_FILENO + 1

    /// Runs `work` in a fork of this process, as a plugin: its standard output is the password. It keeps only the
    /// standard descriptors. To be called while this process has one thread.
    static func fork(_ work: () -> Never) throws(SystemError) -> PluginProcess {
        let pipes = try ChildPipes.make(inheritsInput: true, capturesErrors: false)
        let output = pipes.standard[1]
        // SIGTERM rather than SIGKILL: it may have to restore the terminal. We may have inherited SIGTERM as ignored.
        let process = try ChildProcess.fork("a process", boundBy: SIGTERM) {
            cmandos_default_signal(SIGTERM)
            _ = dup2(output, STDOUT_FILENO)
            cmandos_close_range(UInt32(STDERR_FILENO) + 1, UInt32.max)
            work()
        }
        return PluginProcess(process, pipes, RolePipe(nil))
    }

    fileprivate init(
        _ process: consuming ChildProcess, _ pipes: consuming ChildPipes, _ roles: consuming RolePipe
    ) {
        self.process = process
        output = ChildOutput(pipes.output.take())
        errors = ChildOutput(pipes.errors.take())
        self.roles = roles
    }

    func register(in set: inout PollSet) {
        if status == nil { set.add(process.descriptor) }
        output.register(in: &set)
        errors.register(in: &set)
        roles.register(in: &set)
    }

    /// - Returns: its termination status, once it has ended.
    func collectStatus() -> TerminationStatus? {
        if status == nil { status = process.status() }
        return status
    }

    /// Whether its standard output is not at end of file: some process may still write to it.
    var mayPrint: Bool { output.isOpen }

    func drainOutput(into buffer: SecretBuffer) { output.drain(into: buffer) }

    func drainErrors(into buffer: SecretBuffer) { errors.drain(into: buffer) }

    /// The role that it has declared since the last call, if any.
    func newestRole() -> PluginRole? { roles.newestRole() }

    func signal(_ number: Int32) { if status == nil { process.signal(number) } }
}
