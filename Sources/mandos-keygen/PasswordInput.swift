import CBSD
import Glibc
import MandosFormats
import POSIXKit

/// Reads a password from the terminal or from standard input.
enum PasswordInput {
    /// Maximum length of a password, in bytes: that of cryptsetup's key files.
    static let maximumLength = 8 << 20

    /// Maximum length of a terminal's line, in bytes.
    private static let maximumLineLength = 4096

    /// Prompts twice on the terminal; if standard input is not a terminal, reads its first line.
    ///
    /// White space at both ends is removed. Source: mandos-keygen(8) `--password`, BUGS.
    static func read() throws(KeygenError) -> SecretBuffer {
        guard isatty(STDIN_FILENO) == 1 else { return try trimmed(firstLineOfInput()) }
        let first = try trimmed(ask("Password: "))
        let second = try trimmed(ask("The same again: "))
        let agree = unsafe first.withBytes { one in unsafe second.withBytes { two in unsafe one.elementsEqual(two) } }
        guard agree else { throw KeygenError("the two passwords differ") }
        return first
    }

    private static func ask(_ prompt: String) throws(KeygenError) -> SecretBuffer {
        let buffer = SecretBuffer(limit: maximumLineLength)
        var failed = false
        unsafe buffer.append { room in
            let characters = unsafe room.bindMemory(to: CChar.self)
            guard unsafe readpassphrase(prompt, characters.baseAddress, characters.count, RPP_REQUIRE_TTY) != nil else {
                failed = true
                return 0
            }
            return unsafe characters.firstIndex(of: 0) ?? 0
        }
        if failed { throw KeygenError("no password was given") }
        return buffer
    }

    private static func firstLineOfInput() throws(KeygenError) -> SecretBuffer {
        let buffer = SecretBuffer(limit: maximumLength)
        var isDone = false
        while !isDone {
            var error: Int32 = 0
            unsafe buffer.append { room in
                let count = unsafe Glibc.read(STDIN_FILENO, room.baseAddress, room.count)
                if count < 0 { error = errno }
                isDone = count <= 0 || (unsafe room.prefix(max(count, 0)).contains(UInt8(ascii: "\n")))
                return max(count, 0)
            }
            if error != 0 { throw KeygenError("\(SystemError("reading the password", code: error))") }
            if buffer.isFull { throw KeygenError("the password is longer than \(maximumLength) bytes") }
        }
        return unsafe buffer.withBytes { bytes in
            var line = unsafe Array(bytes.prefix { $0 != UInt8(ascii: "\n") })
            defer { wipe(&line) }
            return SecretBuffer(line)
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
