import InitramfsKit
import MandosClient
import MandosFormats
import MandosTLS
import POSIXKit

/// mandos-client(8mandos): gets this machine's password from a Mandos server and prints it.
@main struct MandosClientProgram {
    private static let program: StaticString = "mandos-client"

    static func main() {
        Hardening.protectProcess()
        do throws(SystemError) {
            let stop = try StopSignals()
            PluginRole.fetches.declare(isFinal: true)
            let settings = Settings.read(program)
            let place = DecryptionPlace.make(for: OwnProcess.user, OwnProcess.group)
            // The last use of root's privileges in this process.
            let network = try NetworkSetup.begin(
                settings.selection, hooks: settings.hooks, delay: settings.delay, isVerbose: settings.debug,
                place: place
            ) { complain(program, $0) }
            let ending: TerminationStatus
            do throws(SystemError) {
                try Hardening.dropPrivileges()
                // Network data is read in another process, since a library may crash on it.
                ending = try CrashRestart.run(until: stop, report: { complain(program, $0) }) {
                    work(settings, network, place)
                }
            } catch {
                complain(program, "\(error)")
                ending = .exit(status: ExitStatus.osError.rawValue)
            }
            let hasBeenTold = if case .signal = ending { true } else { false }
            network.end(hasBeenTold: hasBeenTold, until: stop)
            switch ending {
            case .exit(let status): ExitStatus.exitProgram(status)
            case .signal(let number): dieOf(number)
            }
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }

    /// Gets and prints the password, in a child process. Signals stay pending until read; its children end before it.
    private static func work(_ settings: Settings, _ network: NetworkSetup, _ place: DecryptionPlace?) -> Never {
        if settings.debug { logGnuTLS() }
        ProgramEnding.of(program) { (stop) throws(SystemError) in try run(settings, network, place, until: stop) }
    }

    private static func run(
        _ settings: Settings, _ network: NetworkSetup, _ place: DecryptionPlace?, until stop: borrowing StopSignals
    ) throws(SystemError) -> ProgramEnding {
        let fetch: PasswordFetch
        do throws(Unusable) {
            fetch = try prepare(settings, network, place)
        } catch {
            complain(program, error.problem)
            return .exit(error.status)
        }
        switch fetch.run(until: stop) {
        case .password(let password): return PasswordOutput.write(password, program, until: stop)
        case .stopped(let signal): return .signal(signal)
        case .nothing: return .exit(.unavailable)
        }
    }

    /// Reports what GnuTLS reports of its own work.
    private static func logGnuTLS() {
        unsafe TLSLog.begin { _, text in
            guard let text = unsafe text else { return }
            let line = unsafe Array(String(cString: text).utf8).prefix { $0 != UInt8(ascii: "\n") }
            complain(MandosClientProgram.program, "GnuTLS: " + String(decoding: line, as: UTF8.self))
        }
    }

    private struct Unusable: Error {
        let problem: String
        let status: ExitStatus
    }

    private static func prepare(
        _ settings: Settings, _ network: NetworkSetup, _ place: DecryptionPlace?
    ) throws(Unusable) -> PasswordFetch {
        let credentials: Credentials
        do throws(ClientKeys.Problem) {
            credentials = try settings.keys.credentials(diffieHellman: settings.diffieHellman(program)) { error in
                complain(program, "--dh-params: \(error); using standard parameters")
            }
        } catch {
            throw Unusable(problem: "\(error)", status: .noInput)
        }
        let priority: Priority
        do throws(TLSError) {
            priority = try Priority(settings.priority)
        } catch {
            throw Unusable(problem: "\(error)", status: .usage)
        }
        if let time = KeyTime.neededForDecryption(secretKeyFile: settings.keys.secretKeyFile) {
            complain(program, "the clock is before the creation time of the key; asking to set it forward")
            network.setClock(forwardTo: time)
        }
        let isVerbose = settings.debug
        let fetch = PasswordFetch(
            credentials: credentials, priority: priority, secretKeyFile: settings.keys.secretKeyFile, network: network,
            retryInterval: settings.retryInterval.milliseconds,
            temporaryPlaces: (place.map { [$0.path] } ?? []) + Decryption.standardPlaces
        ) { report in
            switch report {
            case .problem(let text): complain(program, text)
            case .detail(let text): if isVerbose { complain(program, text) }
            }
        }
        for server in settings.servers { fetch.add(server) }
        for domain in settings.domains { fetch.addServers(ofDomain: domain) }
        if settings.connect == nil { fetch.lookForServers(isVerbose: settings.debug) }
        return fetch
    }
}
