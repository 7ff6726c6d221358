import CMandosSystem
public import POSIXKit

/// A terminal that does not show what is typed, until its owner goes, or the process is ended by any signal that can be handled.
public struct HiddenInput: ~Copyable {
    private let descriptor: Int32
    private let former: termios

    /// Hides what is typed at `descriptor`. From here on the process cannot be stopped by its terminal: one that is
    /// stopped would leave the terminal without echo, and see no SIGTERM. Reading fails in the background instead.
    ///
    /// - Returns: nil if `descriptor` is no terminal, or is none that we may change.
    /// - Throws: if the terminal is another process group's at the moment, as that of a shell that has started us in the
    ///   background; its input is not ours.
    public static func begin(on descriptor: Int32) throws(SystemError) -> HiddenInput? {
        guard isTerminal(descriptor) else { return nil }
        for signal in [SIGTSTP, SIGTTIN, SIGTTOU] { cmandos_ignore_signal(signal) }
        // It fails for a terminal that is not the one of our session: such a one has no foreground for us.
        let foreground = tcgetpgrp(descriptor)
        guard foreground <= 0 || foreground == getpgrp() else {
            throw SystemError("asking at a terminal in the background (start it in the foreground)", code: EIO)
        }
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { return nil }
        var former = settings
        settings.c_lflag &= ~tcflag_t(ECHO)
        // Whatever had the terminal before us, such as a splash screen, may have left it without an end of the line.
        settings.c_lflag |= tcflag_t(ICANON)
        settings.c_iflag |= tcflag_t(ICRNL)
        // What was typed before the prompt stays: people type ahead. And a console that takes no output at the moment
        // must not hold us up.
        unsafe cmandos_show_input_when_killed(descriptor, &former)
        guard unsafe tcsetattr(descriptor, TCSANOW, &settings) == 0 else {
            cmandos_input_is_shown()
            return nil
        }
        return HiddenInput(descriptor: descriptor, former: former)
    }

    /// Whether `descriptor` is a terminal that has not been hung up.
    static func isTerminal(_ descriptor: Int32) -> Bool {
        var settings = termios()
        return unsafe tcgetattr(descriptor, &settings) == 0
    }

    deinit {
        var settings = former
        while unsafe tcsetattr(descriptor, TCSANOW, &settings) < 0 && cmandos_errno() == EINTR {}
        cmandos_input_is_shown()
    }
}

/// Whether the terminal showed what is typed, for whoever runs programs that hide it and may be ended at any moment, or
/// put back what another one of them has hidden.
public struct TerminalState: ~Copyable {
    private let terminal: FileDescriptor
    private let former: termios

    /// - Returns: nil if there is no terminal in our session.
    public static func ofSession() -> TerminalState? {
        guard let terminal = try? FileDescriptor.openTerminal() else { return nil }
        var settings = termios()
        guard unsafe tcgetattr(terminal.number, &settings) == 0 else { return nil }
        return TerminalState(terminal: terminal, former: settings)
    }

    /// Has it show again what is typed, and end lines, if it did before; takes nothing else back.
    public consuming func restore() {
        var settings = termios()
        guard unsafe tcgetattr(terminal.number, &settings) == 0 else { return }
        let shown = former.c_lflag & tcflag_t(ECHO | ICANON)
        if settings.c_lflag & shown == shown { return }
        settings.c_lflag |= shown
        // Also in the background.
        cmandos_ignore_signal(SIGTTOU)
        _ = unsafe tcsetattr(terminal.number, TCSANOW, &settings)
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

    /// No password that is read is longer, in bytes; what is beyond it is an error, and never cut off.
    public static let longestPassword = 1 << 20

    /// The same at a terminal: the kernel drops without a word what does not fit into 4095 bytes, so a line that has them
    /// all may have been cut off. Source: termios(3), "Canonical and noncanonical mode".
    public static let longestTypedPassword = 4094

    /// Reads one line from `input`, a descriptor; without echo if it is a terminal. The terminal is as it was on every way out.
    ///
    /// Ctrl-D alone asks again. What a terminal has sent before Ctrl-D is part of the line. Ends of lines after the first
    /// are not read.
    /// - Throws: also if the line is too long (EMSGSIZE), or we are in the background of a terminal (EIO).
    public static func ask(
        _ prompt: String, on output: Int32, reading input: Int32, until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        let hidden = try HiddenInput.begin(on: input)
        let isTerminal = hidden != nil
        var display = NonBlockingOutput(on: output)
        // Who can give nothing is not asked.
        if !isTerminal, hasEnded(input) { return .noInput }
        display.say(Array(prompt.utf8))
        defer {
            if isTerminal {
                display.forget()
                display.say([UInt8(ascii: "\n")])
                display.finish()
            }
        }
        let longest = isTerminal ? longestTypedPassword : longestPassword
        let line = SecretBuffer(limit: longest + 1)
        while true {
            var set = PollSet()
            set.add(input)
            set.add(stop.descriptor.number)
            display.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            display.advance(set)
            guard set.isReady(input) else { continue }
            let progress = try read(from: input, into: line, isTerminal: isTerminal)
            if line.count > longest { throw SystemError("reading the password", code: EMSGSIZE) }
            switch progress {
            case .more: break
            case .line: return .password(line)
            case .end where line.count > 0: return .password(line)
            case .end:
                // Somebody has pressed Ctrl-D. A terminal that was hung up would say the same for ever.
                guard isTerminal, HiddenInput.isTerminal(input) else { return .noInput }
                display.say(Array(("\n" + prompt).utf8))
            }
        }
    }

    /// Whether it is certain, without reading, that nothing will come.
    private static func hasEnded(_ input: Int32) -> Bool {
        guard isReadable(input) else { return false }
        // Linux's number of /dev/null, which cannot tell how much there is.
        let null: dev_t = 0x103
        var status = stat()
        return cmandos_unread(input) == 0 || (unsafe fstat(input, &status) == 0 && status.st_rdev == null)
    }

    private enum Progress { case more, line, end }

    private static func read(
        from input: Int32, into line: SecretBuffer, isTerminal: Bool
    ) throws(SystemError) -> Progress {
        var progress = Progress.more
        var failure: Int32 = 0
        unsafe line.append { room in
            // A terminal gives a line at most. Elsewhere, what comes after the line is somebody else's.
            let most = isTerminal ? min(room.count, line.limit - line.count) : 1
            // Somebody else may have been quicker to read what poll(2) has seen on a terminal, as a shell may.
            let count =
                unsafe isTerminal
                ? cmandos_read_briefly(input, room.baseAddress, most)
                : CMandosSystem.read(input, room.baseAddress, most)
            if count < 0 { failure = cmandos_errno() }
            if count == 0 { progress = .end }
            guard count > 0 else { return 0 }
            for index in 0..<count where unsafe room[index] == UInt8(ascii: "\n") {
                progress = .line
                return index
            }
            return count
        }
        if ![0, EINTR, EAGAIN].contains(failure) { throw SystemError("reading the password", code: failure) }
        return progress
    }
}
