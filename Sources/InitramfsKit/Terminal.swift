import CMandosSystem

/// A terminal that does not show what is typed, until its owner goes.
public struct HiddenInput: ~Copyable {
    private let descriptor: Int32
    private let former: termios

    /// - Returns: nil if `descriptor` is no terminal, or is none that we may change.
    public static func begin(on descriptor: Int32) -> HiddenInput? {
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { return nil }
        let former = settings
        settings.c_lflag &= ~tcflag_t(ECHO)
        // What was typed before the prompt stays: people type ahead.
        guard unsafe tcsetattr(descriptor, TCSADRAIN, &settings) == 0 else { return nil }
        return HiddenInput(descriptor: descriptor, former: former)
    }

    deinit {
        var settings = former
        while unsafe tcsetattr(descriptor, TCSADRAIN, &settings) < 0 && cmandos_errno() == EINTR {}
    }
}

/// Asking a person for a password.
public enum PasswordQuestion {
    public enum Outcome {
        /// What was typed, without the end of the line.
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// The input ended before anything came.
        case noInput
    }

    /// No password that is typed is longer, in bytes; what is beyond it is an error, and never cut off.
    public static let longestPassword = 1 << 20

    /// Reads one line from `input`, a descriptor; without echo if it is a terminal. The terminal is as it was on every way out.
    ///
    /// - Throws: also if the line is too long (EMSGSIZE).
    public static func ask(
        _ prompt: String, on output: Int32, reading input: Int32, until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        let hidden = HiddenInput.begin(on: input)
        say(prompt, on: output)
        defer { if hidden != nil { say("\n", on: output) } }
        let line = SecretBuffer(limit: longestPassword)
        while true {
            var set = PollSet()
            set.add(input)
            set.add(stop.descriptor.number)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            guard set.isReady(input) else { continue }
            // Byte for byte: what comes after the line is somebody else's.
            var byte: UInt8 = 0
            let count = unsafe read(input, &byte, 1)
            if count < 0 {
                if [EINTR, EAGAIN].contains(cmandos_errno()) { continue }
                throw SystemError("reading the password")
            }
            let isEnd = count == 0 || byte == UInt8(ascii: "\n")
            if isEnd { return count == 0 && line.count == 0 ? .noInput : .password(line) }
            if line.isFull { throw SystemError("reading the password", code: EMSGSIZE) }
            unsafe line.append { room in
                unsafe room[0] = byte
                return 1
            }
        }
    }

    private static func say(_ text: String, on output: Int32) {
        let bytes = Array(text.utf8)
        // A console that takes nothing must not keep anybody from typing.
        _ = unsafe bytes.withUnsafeBytes { unsafe write(output, $0.baseAddress, $0.count) }
    }
}
