import CMandosSystem
import POSIXKit

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
        // Another prompt has turned echo off, and will turn it on again.
        if TerminalClaim.take(on: terminal.number).number == nil { settings.c_lflag |= tcflag_t(ECHO | ICANON) }
        return TerminalState(terminal: terminal, former: settings)
    }

    /// Turns echo and line input on again if they were on before, and then discards what was typed at the prompt that has
    /// left the terminal like this. Does nothing while another prompt of ours is there, which does the same at its end.
    public consuming func restore() {
        let claim = TerminalClaim.take(on: terminal.number)
        guard claim.number != nil else { return }
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
