import CMandosSystem
import MandosFormats
import POSIXKit

/// A terminal with echo turned off, until its owner's lifetime ends or any signal that can be handled ends the process.
///
/// Input that is not read by then is discarded, unless a whole line was read: the next reader of the terminal, such as
/// login(1), would show a half-typed password.
struct HiddenInput: ~Copyable {
    private let descriptor: Int32
    /// Nil as long as another prompt has the terminal, which also restores it.
    private var claim: FileDescriptor?
    private var former: termios
    private var discardsInput = true

    private init(_ descriptor: Int32, _ claim: consuming FileDescriptor?, former: termios) {
        self.descriptor = descriptor
        self.claim = claim
        self.former = former
    }

    /// Keeps what was typed after the line: it may be the answer to the next prompt.
    mutating func lineWasRead() { discardsInput = false }

    /// Turns off echo on the terminal `descriptor`; `claim` is the ``TerminalClaim``. From then on the terminal cannot stop
    /// the process: a stopped process would leave the terminal without echo, and not handle SIGTERM. In the background,
    /// reading fails instead.
    ///
    /// - Returns: nil if `descriptor` is not a terminal, or its settings cannot be changed.
    /// - Throws: if another process group is in the foreground, such as that of a shell that started us in the
    ///   background; the terminal's input is then not for us.
    static func begin(on descriptor: Int32, _ claim: consuming FileDescriptor?) throws(SystemError) -> HiddenInput? {
        guard isTerminal(descriptor) else { return nil }
        ignoreStopping()
        guard !isInBackground(descriptor) else {
            throw SystemError("asking at a terminal in the background (start it in the foreground)", code: EIO)
        }
        guard let former = hide(descriptor, isClaimed: claim.number != nil) else { return nil }
        return HiddenInput(descriptor, claim, former: former)
    }

    /// From now on, the terminal cannot stop the process.
    static func ignoreStopping() { for signal in [SIGTSTP, SIGTTIN, SIGTTOU] { cmandos_ignore_signal(signal) } }

    /// Whether another process group is in the foreground of the terminal.
    static func isInBackground(_ descriptor: Int32) -> Bool {
        // It fails for a terminal that is not our controlling terminal, where we have no foreground process group.
        let foreground = tcgetpgrp(descriptor)
        return foreground > 0 && foreground != getpgrp()
    }

    /// - Returns: the former settings; nil if they cannot be changed.
    private static func hide(_ descriptor: Int32, isClaimed: Bool) -> termios? {
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
        if isClaimed, former.c_lflag & tcflag_t(ECHO) == 0 { tcflush(descriptor, TCIFLUSH) }
        return former
    }

    func register(in set: inout PollSet) {
        if claim.number == nil { set.limit(to: .now().after(milliseconds: TerminalClaim.pause)) }
    }

    /// Hides input again if the other prompt has ended, which has turned echo on.
    mutating func takeOver() {
        guard claim.number == nil else { return }
        claim = TerminalClaim.take(on: descriptor)
        if claim.number != nil { former = Self.hide(descriptor, isClaimed: true) ?? former }
    }

    /// Whether `descriptor` is a terminal that has not been hung up.
    static func isTerminal(_ descriptor: Int32) -> Bool {
        var settings = termios()
        return unsafe tcgetattr(descriptor, &settings) == 0
    }

    deinit {
        if claim.number == nil { return cmandos_input_is_shown() }
        var settings = former
        while unsafe tcsetattr(descriptor, TCSANOW, &settings) < 0 && cmandos_errno() == EINTR {}
        // Unlike TCSAFLUSH, it does not wait for a console that takes no output at the moment.
        if discardsInput { tcflush(descriptor, TCIFLUSH) }
        cmandos_input_is_shown()
    }
}
