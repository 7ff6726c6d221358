import Glibc
import InitramfsKit
import MandosFormats
import POSIXKit

/// Reads a password from the terminal or from standard input.
enum PasswordInput {
    /// Maximum length of a password in a file, in bytes: that of cryptsetup's key files.
    static let maximumLength = 8 << 20

    /// Prompts twice on the terminal; if standard input is not a terminal, reads its first line.
    ///
    /// White space at both ends is removed. Source: mandos-keygen(8) `--password`, BUGS.
    static func read(until stop: borrowing StopSignals) throws(KeygenError) -> SecretBuffer {
        guard isatty(STDIN_FILENO) == 1 else {
            return try ask("", at: STDIN_FILENO, most: PasswordQuestion.longestPassword, until: stop)
        }
        let terminal = try KeygenError.wrap { () throws(SystemError) in try FileDescriptor.openTerminal() }
        let most = PasswordQuestion.longestTypedPassword
        let first = try ask("Password: ", at: terminal.number, most: most, until: stop)
        let second = try ask("The same again: ", at: terminal.number, most: most, until: stop)
        let agree = unsafe first.withBytes { one in unsafe second.withBytes { two in unsafe one.elementsEqual(two) } }
        guard agree else { throw KeygenError("the two passwords differ") }
        return first
    }

    private static func ask(
        _ prompt: String, at descriptor: Int32, most: Int, until stop: borrowing StopSignals
    ) throws(KeygenError) -> SecretBuffer {
        let outcome: PasswordQuestion.Outcome
        do throws(SystemError) {
            outcome = try PasswordQuestion.ask(prompt, on: descriptor, reading: descriptor, until: stop)
        } catch {
            guard error.code == EMSGSIZE else { throw KeygenError("\(error)") }
            throw KeygenError(
                "the password is longer than \(most) bytes; write it into a file, and use --passfile")
        }
        switch outcome {
        case .password(let password): return try trimmed(password)
        case .stopped(let signal): throw .interrupted(signal: signal)
        case .noInput: throw KeygenError("no password was given")
        }
    }

    private static func trimmed(_ password: SecretBuffer) throws(KeygenError) -> SecretBuffer {
        var bytes = password.copy
        defer { wipe(&bytes) }
        let start = bytes.firstIndex { !isSpace($0) } ?? bytes.endIndex
        let end = (bytes.lastIndex { !isSpace($0) } ?? start - 1) + 1
        guard start < end else { throw KeygenError("the password is empty") }
        var middle = Array(bytes[start..<end])
        defer { wipe(&middle) }
        return SecretBuffer(middle)
    }
}
