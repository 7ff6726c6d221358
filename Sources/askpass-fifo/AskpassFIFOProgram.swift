import InitramfsKit
import MandosFormats

/// askpass-fifo(8mandos): prints the password that another program writes to a FIFO.
///
/// It may be set-uid root: plugins run as a user who can neither make nor open the FIFO.
@main struct AskpassFIFOProgram {
    private static let program: StaticString = "askpass-fifo"
    /// Where askpass(8) of cryptsetup has it.
    private static let path = "/lib/cryptsetup/passfifo"
    /// In bytes; what is beyond it is an error, and never cut off.
    private static let longestPassword = 1 << 20

    static func main() {
        Hardening.protectProcess()
        NoOptions.read(
            program, summary: "Print the password that is written to /lib/cryptsetup/passfifo.",
            version: mandosVersion)
        do throws(SystemError) {
            let stop = try StopSignals()
            // Everything that must be undone is, once this is back.
            switch try run(until: stop) {
            case .exit(let status): status.exit()
            case .signal(let signal): dieOf(signal)
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }

    private enum Ending {
        case exit(ExitStatus)
        case signal(Int32)
    }

    private static func run(until stop: borrowing StopSignals) throws(SystemError) -> Ending {
        let fifo: PasswordFIFO
        do throws(PasswordFIFO.Problem) {
            fifo = try PasswordFIFO.open(path)
        } catch {
            complain(program, "\(error)")
            return .exit(.osFile)
        }
        // The last thing that is done with root's privilege was opening it.
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
        do throws(SystemError) {
            switch try PasswordOutput.write(password, until: stop) {
            case .written: return .exit(.success)
            case .stopped(let signal): return .signal(signal)
            }
        } catch {
            complain(program, "\(error)")
            return .exit(.ioError)
        }
    }
}
