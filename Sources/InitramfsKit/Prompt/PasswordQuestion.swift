import CMandosSystem
public import POSIXKit

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
    /// always restored. Input at a terminal is discarded unless it is a whole line, or follows one. A line from the descriptor
    /// `piped`, which is no terminal, is taken as well.
    ///
    /// While another process of ours prompts at the terminal, waits for its end.
    ///
    /// Ctrl-D on an empty line prompts again; text sent by Ctrl-D is part of the line. Nothing after the line is read.
    /// - Throws: also if the line is too long (EMSGSIZE), or we are in the background of a terminal (EIO).
    public static func ask(
        _ prompt: String, on output: Int32, reading input: Int32, orFrom piped: Int32? = nil,
        until stop: borrowing StopSignals
    ) throws(SystemError) -> Outcome {
        var hidden: HiddenInput?
        switch TerminalClaim.waitForTurn(on: input, until: stop) {
        case .ours(let claim): hidden = try HiddenInput.begin(on: input, claim)
        case .stopped(let signal): return .stopped(signal: signal)
        }
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
        let line = Line(input, isTerminal: isTerminal)
        var pipedLine = piped.map { Line($0, isTerminal: false) }
        while true {
            var set = PollSet()
            set.add(input)
            if let pipedLine { set.add(pipedLine.input) }
            stop.register(in: &set)
            display.register(in: &set)
            hidden?.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            hidden?.takeOver()
            display.advance(set)
            if let password = try readPiped(&pipedLine, set) { return .password(password) }
            guard set.isReady(input) else { continue }
            switch try line.read() {
            case .more: break
            case .line:
                hidden?.lineWasRead()
                return .password(line.text)
            case .end where line.text.count > 0: return .password(line.text)
            case .end:
                // Ctrl-D was pressed. A terminal that was hung up would return end of file for ever.
                guard isTerminal, HiddenInput.isTerminal(input) else { return .noInput }
                display.say(Array(("\n" + prompt).utf8))
            }
        }
    }

    /// The line from an input that is no terminal, once it is whole; the input becomes nil at its end.
    private static func readPiped(_ line: inout Line?, _ set: PollSet) throws(SystemError) -> SecretBuffer? {
        guard let piped = line, set.isReady(piped.input) else { return nil }
        switch try piped.read() {
        case .more: return nil
        case .line: return piped.text
        case .end:
            line = nil
            return piped.text.count > 0 ? piped.text : nil
        }
    }

    /// Whether a person can be asked at the terminal `descriptor`.
    public static func canAsk(at descriptor: Int32) -> Bool {
        HiddenInput.isTerminal(descriptor) && !HiddenInput.isInBackground(descriptor)
    }

    /// Whether `input` is certainly at end of file, found without reading.
    public static func hasEnded(_ input: Int32) -> Bool {
        guard isReadable(input) else { return false }
        // Linux's device number of /dev/null, which does not support FIONREAD.
        let null: dev_t = 0x103
        var status = stat()
        return cmandos_unread(input) == 0 || (unsafe fstat(input, &status) == 0 && status.st_rdev == null)
    }

    /// The line that is read from a descriptor.
    private struct Line {
        let input: Int32
        let isTerminal: Bool
        let text: SecretBuffer

        init(_ input: Int32, isTerminal: Bool) {
            self.input = input
            self.isTerminal = isTerminal
            text = SecretBuffer(limit: (isTerminal ? longestTypedPassword : longestPassword) + 1)
        }

        enum Progress { case more, line, end }

        func read() throws(SystemError) -> Progress {
            let progress = try readPart()
            if text.isFull { throw SystemError("reading the password", code: EMSGSIZE) }
            return progress
        }

        private func readPart() throws(SystemError) -> Progress {
            var progress = Progress.more
            var failure: Int32 = 0
            unsafe text.append { room in
                // A terminal returns one line at most. Elsewhere, input after the line is left for other readers.
                let most = isTerminal ? min(room.count, text.limit - text.count) : 1
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
}
