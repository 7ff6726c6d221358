import CMandosSystem

/// What a plugin is for: its output is the password. Source: plugin-runner(8mandos), "PLUGINS".
public enum PasswordOutput {
    public enum Outcome {
        /// All of it is written.
        case written
        case stopped(signal: Int32)
    }

    /// Writes all of `password` to standard output, and nothing else.
    ///
    /// - Throws: if not all of it could be written; then nobody may take what was for the password.
    public static func write(
        _ password: SecretBuffer, until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        do throws(SystemError) {
            let isWritten = try unsafe password.withBytes { (bytes) throws(SystemError) in
                try unsafe writeAll(bytes, to: STDOUT_FILENO, unless: stop.descriptor.number)
            }
            if isWritten { return .written }
            if let signal = stop.next() { return .stopped(signal: signal) }
            // Nothing but a signal interrupts it.
            throw SystemError("writing", code: EINTR)
        } catch {
            throw SystemError("writing the password to standard output", code: error.code)
        }
    }
}

extension SystemError {
    /// There is more than a password can be.
    public var isMessageTooLong: Bool { code == EMSGSIZE }
}
