import CMandosSystem
public import POSIXKit

/// What a plugin is for: its output is the password. Source: plugin-runner(8mandos), "PLUGINS".
public enum PasswordOutput {
    /// Writes all of `password` to standard output, and nothing else, and says so if it could not: then the exit status
    /// tells that nobody may take what was written for the password.
    public static func write(
        _ password: SecretBuffer, _ program: StaticString, until stop: borrowing StopSignals
    ) -> ProgramEnding {
        do throws(SystemError) {
            let isWritten = try unsafe password.withBytes { (bytes) throws(SystemError) in
                try unsafe writeAll(bytes, to: STDOUT_FILENO, unless: stop.descriptor.number)
            }
            if isWritten { return .exit(.success) }
            if let signal = stop.next() { return .signal(signal) }
            // Nothing but a signal interrupts it.
            throw SystemError("writing", code: EINTR)
        } catch {
            complain(program, "\(SystemError("writing the password to standard output", code: error.code))")
            return .exit(.ioError)
        }
    }
}

extension SystemError {
    /// There is more than a password can be.
    public var isMessageTooLong: Bool { code == EMSGSIZE }
}
