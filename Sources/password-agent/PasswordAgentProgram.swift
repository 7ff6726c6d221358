import InitramfsKit
import POSIXKit

/// password-agent(8mandos): answers systemd's questions for passwords with the output of a Mandos client.
@main struct PasswordAgentProgram {
    static let program: StaticString = "password-agent"

    static func main() {
        Hardening.protectProcess()
        let settings = Settings.read(program)
        ProgramEnding.of(program, endsWithReader: false) { (stop) throws(SystemError) in
            if settings.test { return SelfTest.run(until: stop) }
            return Agent.run(settings, until: stop) { complain(program, $0) }
        }
    }
}
