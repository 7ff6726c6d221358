import InitramfsKit
import MandosFormats
import POSIXKit

/// askpass-fifo(8mandos): prints the password that another program writes to a FIFO.
///
/// May be set-uid root: plugins run as a user that may neither create nor open the FIFO.
@main struct AskpassFIFOProgram {
    private static let program: StaticString = "askpass-fifo"
    /// The path that cryptsetup's askpass(8) uses.
    private static let path = "/lib/cryptsetup/passfifo"
    /// In bytes; a longer password is an error, and is never truncated.
    private static let longestPassword = 1 << 20

    static func main() {
        Hardening.protectProcess()
        NoOptions.read(
            program, summary: "Print the password that is written to /lib/cryptsetup/passfifo.",
            version: mandosVersion)
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(until: stop) }
    }

    private static func run(until stop: borrowing StopSignals) throws(SystemError) -> ProgramEnding {
        PluginRole.relays.declare()
        let fifo: PasswordFIFO
        do throws(PasswordFIFO.Problem) {
            fifo = try PasswordFIFO.open(path)
        } catch {
            complain(program, "\(error)")
            if case .isTaken = error { return .exit(.temporaryFailure) }
            return .exit(.osFile)
        }
        // Only opening the FIFO needs root's privileges.
        try Hardening.dropPrivileges()
        let password: SecretBuffer
        do throws(SystemError) {
            switch try fifo.password(limit: longestPassword, until: stop) {
            case .password(let written): password = written
            case .stopped(let signal): return .signal(signal)
            }
        } catch {
            complain(program, "\(error)")
            return .exit(error.isMessageTooLong ? .dataError : .ioError)
        }
        return PasswordOutput.write(password, program, until: stop)
    }
}
