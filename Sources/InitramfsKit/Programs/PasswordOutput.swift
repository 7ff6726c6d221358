import CMandosSystem
public import POSIXKit

/// The result of a plugin: the password on standard output. Source: plugin-runner(8mandos), "PLUGINS".
public enum PasswordOutput {
    /// Writes all of `password`, and nothing else, to standard output. Reports a failure; the exit status then shows
    /// that the output is not a usable password.
    public static func write(
        _ password: SecretBuffer, _ program: StaticString, until stop: borrowing StopSignals
    ) -> ProgramEnding {
        do throws(SystemError) {
            let isWritten = try unsafe password.withBytes { (bytes) throws(SystemError) in
                try unsafe writeAll(bytes, to: STDOUT_FILENO, unless: stop.descriptor.number)
            }
            if isWritten { return .exit(.success) }
            if let signal = stop.next() { return .signal(signal) }
            // Only a signal interrupts the write.
            throw SystemError("writing", code: EINTR)
        } catch {
            complain(program, "\(SystemError("writing the password to standard output", code: error.code))")
            return .exit(.ioError)
        }
    }
}

extension SystemError {
    /// Whether the input is longer than a password may be.
    public var isMessageTooLong: Bool { code == EMSGSIZE }
}
