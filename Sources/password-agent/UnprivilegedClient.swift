import CMandosSystem
import POSIXKit

/// Runs a set-uid program as another real user, to get the password that it prints.
///
/// Only its real user and group change: it falls back to them when it drops the privileges of its file.
/// Source: password-agent(8mandos) SECURITY.
enum UnprivilegedClient {
    /// In milliseconds; a client may have a network to take down before it ends.
    private static let teardown = Teardown(termination: 10_000)

    /// Starts the program at the path `arguments[0]`, in a process group of its own.
    ///
    /// Its standard output is appended to `output`; there was too much if that is full. Its standard input is empty; it
    /// inherits our environment and standard error. To be called while this process has one thread.
    static func start(
        _ arguments: [String], user: UInt32, group: UInt32, output: SecretBuffer
    ) throws(SystemError) -> PipedChild {
        let pipes = try ChildPipes.make(capturesErrors: false)
        let list = CStringList(arguments)
        var step = CMANDOS_CLIENT_FORK
        let processID = unsafe cmandos_start_client(
            arguments[0], list.pointers, pipes.standard[0], pipes.standard[1], user, group, &step)
        if processID < 0 {
            let code = cmandos_errno()
            throw SystemError(action(of: step, arguments[0], user, group), code: code)
        }
        let process = try ChildProcess.holding(processID, leadsGroup: true, arguments[0])
        return PipedChild(process, pipes, output: output, teardown: teardown, signalling: .group)
    }

    private static func action(
        of step: cmandos_client_step, _ path: String, _ user: UInt32, _ group: UInt32
    ) -> String {
        guard step == CMANDOS_CLIENT_IDS else { return "starting " + path }
        return "running " + path + " as user " + String(user) + " and group " + String(group)
            + ", for which we have to be root"
    }
}
