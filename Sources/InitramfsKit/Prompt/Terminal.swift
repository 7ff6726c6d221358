import CMandosSystem
public import POSIXKit

/// A terminal with echo turned off, until its owner's lifetime ends or any signal that can be handled ends the process.
///
/// Input that is not read by then is discarded, unless a whole line was read: the next reader of the terminal, such as
/// login(1), would show a half-typed password.
public struct HiddenInput: ~Copyable {
    private let descriptor: Int32
    private let former: termios
    private var discardsInput = true

    private init(descriptor: Int32, former: termios) {
        self.descriptor = descriptor
        self.former = former
    }

    /// Keeps what was typed after the line: it may be the answer to the next prompt.
    public mutating func lineWasRead() { discardsInput = false }

    /// Turns off echo on the terminal `descriptor`. From then on the terminal cannot stop the process: a stopped
    /// process would leave the terminal without echo, and not handle SIGTERM. In the background, reading fails instead.
    ///
    /// - Returns: nil if `descriptor` is not a terminal, or its settings cannot be changed.
    /// - Throws: if another process group is in the foreground, such as that of a shell that started us in the
    ///   background; the terminal's input is then not for us.
    public static func begin(on descriptor: Int32) throws(SystemError) -> HiddenInput? {
        guard isTerminal(descriptor) else { return nil }
        for signal in [SIGTSTP, SIGTTIN, SIGTTOU] { cmandos_ignore_signal(signal) }
        // It fails for a terminal that is not our controlling terminal, where we have no foreground process group.
        let foreground = tcgetpgrp(descriptor)
        guard foreground <= 0 || foreground == getpgrp() else {
            throw SystemError("asking at a terminal in the background (start it in the foreground)", code: EIO)
        }
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { return nil }
        var former = settings
        settings.c_lflag &= ~tcflag_t(ECHO)
        // A program that used the terminal before us, such as a splash screen, may have turned off line input.
        settings.c_lflag |= tcflag_t(ICANON)
        settings.c_iflag |= tcflag_t(ICRNL)
        // TCSANOW keeps input that was typed ahead, and does not wait for a console that takes no output at the moment.
        unsafe cmandos_show_input_when_killed(descriptor, &former)
        guard unsafe tcsetattr(descriptor, TCSANOW, &settings) == 0 else {
            cmandos_input_is_shown()
            return nil
        }
        // Another prompt has left the terminal like this when it was killed, with what was half typed there.
        if former.c_lflag & tcflag_t(ECHO) == 0 { tcflush(descriptor, TCIFLUSH) }
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
        // Unlike TCSAFLUSH, it does not wait for a console that takes no output at the moment.
        if discardsInput { tcflush(descriptor, TCIFLUSH) }
        cmandos_input_is_shown()
    }
}

/// The terminal's echo and line settings, saved before programs run that turn echo off and may be killed, or may
/// restore a state in which another of them had turned it off.
public struct TerminalState: ~Copyable {
    private let terminal: FileDescriptor
    private let former: termios

    /// - Returns: nil if our session has no terminal.
    public static func ofSession() -> TerminalState? {
        guard let terminal = try? FileDescriptor.openTerminal() else { return nil }
        var settings = termios()
        guard unsafe tcgetattr(terminal.number, &settings) == 0 else { return nil }
        return TerminalState(terminal: terminal, former: settings)
    }

    /// Turns echo and line input on again if they were on before, and then discards what was typed at the prompt that has
    /// left the terminal like this.
    public consuming func restore() {
        var settings = termios()
        guard unsafe tcgetattr(terminal.number, &settings) == 0 else { return }
        let shown = former.c_lflag & tcflag_t(ECHO | ICANON)
        if settings.c_lflag & shown == shown { return }
        settings.c_lflag |= shown
        // Otherwise, tcsetattr(3) in the background would stop us.
        cmandos_ignore_signal(SIGTTOU)
        _ = unsafe tcsetattr(terminal.number, TCSANOW, &settings)
        tcflush(terminal.number, TCIFLUSH)
    }
}

/// A prompt for a password.
public enum PasswordQuestion {
    public enum Outcome {
        /// The line that was read, without its line end.
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// End of file before any input.
        case noInput
    }

    /// The maximum length of a password, in bytes; a longer one is an error, and never cut off.
    public static let longestPassword = 1 << 20

    /// The maximum length at a terminal, in bytes: the kernel silently drops what exceeds 4095, so a line of that
    /// length may have been cut off. Source: termios(3), "Canonical and noncanonical mode".
    public static let longestTypedPassword = 4094

    /// Prompts, and reads one line from the descriptor `input`; without echo if it is a terminal, whose settings are
    /// always restored. Input at a terminal is discarded unless it is a whole line, or follows one.
    ///
    /// Ctrl-D on an empty line prompts again; text sent by Ctrl-D is part of the line. Nothing after the line is read.
    /// - Throws: also if the line is too long (EMSGSIZE), or we are in the background of a terminal (EIO).
    public static func ask(
        _ prompt: String, on output: Int32, reading input: Int32, until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        var hidden = try HiddenInput.begin(on: input)
        let isTerminal = hidden != nil
        var display = NonBlockingOutput(on: output)
        // Does not prompt if input is already at end of file.
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
            case .line:
                hidden?.lineWasRead()
                return .password(line)
            case .end where line.count > 0: return .password(line)
            case .end:
                // Ctrl-D was pressed. A terminal that was hung up would return end of file for ever.
                guard isTerminal, HiddenInput.isTerminal(input) else { return .noInput }
                display.say(Array(("\n" + prompt).utf8))
            }
        }
    }

    /// Whether `input` is certainly at end of file, found without reading.
    private static func hasEnded(_ input: Int32) -> Bool {
        guard isReadable(input) else { return false }
        // Linux's device number of /dev/null, which does not support FIONREAD.
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
            // A terminal returns one line at most. Elsewhere, input after the line is left for other readers.
            let most = isTerminal ? min(room.count, line.limit - line.count) : 1
            // Another reader of the terminal, such as a shell, may have taken the input that poll(2) has reported.
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
