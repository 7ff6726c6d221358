import InitramfsKit
import MandosClient
import POSIXKit

/// mandos-client(8mandos): gets this machine's password from a Mandos server and prints it.
@main struct MandosClientProgram {
    private static let program: StaticString = "mandos-client"

    /// More than 200 conversations, decryptions and ourselves need.
    private static let descriptors: UInt32 = 1024

    static func main() {
        Hardening.protectProcess()
        Hardening.setUsableSurroundings(files: descriptors)
        do throws(SystemError) {
            let stop = try StopSignals(endingWithReader: true)
            PluginRole.fetches.declare(isFinal: true)
            let settings = Settings.read(program)
            let user = WorkerUser.current
            let directory = PrivateDirectory(for: user)
            // The last use of privileges that a set-uid bit has given to this process.
            let network: NetworkSetup
            do throws(SystemError) {
                network = try NetworkSetup.begin(
                    settings.selection, hooks: settings.hooks, delay: settings.delay, isVerbose: settings.debug,
                    complain: { complain(program, $0) }, finally: { directory?.removeSoon() })
            } catch {
                directory?.removeSoon()
                throw error
            }
            let ending: ProgramEnding
            do throws(SystemError) {
                try Hardening.dropPrivileges()
                let worker = Worker(
                    program: program, settings: settings, network: network, user: user, directory: directory)
                let supervisor = Supervisor(program: program, settings: settings, user: user, directory: directory) {
                    (password, servers) in
                    ProgramEnding.of(program, endsWithReader: false) { (stop) throws(SystemError) in
                        try worker.run(password: password, servers: servers, until: stop)
                    }
                }
                ending = supervisor.run(until: stop)
            } catch {
                complain(program, "\(error)")
                ending = .exit(.osError)
            }
            let hasBeenTold = if case .signal = ending { true } else { false }
            network.end(hasBeenTold: hasBeenTold, until: stop)
            ending.end()
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }
}
