import InitramfsKit
import MandosClient
import MandosFormats
import MandosTLS

/// mandos-client(8mandos): gets this machine's password from a Mandos server and prints it.
@main struct MandosClientProgram {
    private static let program: StaticString = "mandos-client"

    static func main() {
        Hardening.protectProcess()
        do throws(SystemError) {
            try Hardening.dropPrivileges()
            let stop = try StopSignals()
            let settings = Settings.read(program)
            switch fetch(settings).run(until: stop) {
            case .password(let password):
                let isWritten = try unsafe password.withBytes { (bytes) throws(SystemError) in
                    try unsafe writeAll(bytes, to: ExitStatus.standardOutput, unless: stop.descriptor.number)
                }
                if !isWritten, let signal = stop.next() { dieOf(signal) }
            case .stopped(let signal): dieOf(signal)
            case .nothing: ExitStatus.unavailable.exit()
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }

    private static func fetch(_ settings: Settings) -> PasswordFetch {
        let credentials: Credentials
        do throws(ClientKeys.Problem) {
            credentials = try settings.keys.credentials(diffieHellman: settings.diffieHellman(program)) { error in
                complain(program, "--dh-params: \(error); using standard parameters")
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.noInput.exit()
        }
        let priority: Priority
        do throws(TLSError) {
            priority = try Priority(settings.priority)
        } catch {
            complain(program, "\(error)")
            ExitStatus.usage.exit()
        }
        let isVerbose = settings.debug
        let fetch = PasswordFetch(
            credentials: credentials, priority: priority, secretKeyFile: settings.keys.secretKeyFile,
            interface: settings.interface, retryInterval: settings.retryInterval.milliseconds
        ) { report in
            switch report {
            case .problem(let text): complain(program, text)
            case .detail(let text): if isVerbose { complain(program, text) }
            }
        }
        for server in settings.servers { fetch.add(server) }
        return fetch
    }
}
