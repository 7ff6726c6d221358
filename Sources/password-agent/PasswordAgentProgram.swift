import InitramfsKit

/// password-agent(8mandos): answers systemd's questions for passwords with what a Mandos client prints.
@main struct PasswordAgentProgram {
    static let program: StaticString = "password-agent"

    static func main() {
        Hardening.protectProcess()
        let settings = Settings.read(program)
        do throws(SystemError) {
            let stop = try StopSignals()
            if settings.test { SelfTest.run(until: stop) }
            let ending = Agent.run(settings, until: stop) { complain(program, $0) }
            switch ending {
            case .exit(let status): status.exit()
            case .stopped(let signal): dieOf(signal)
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }
}
