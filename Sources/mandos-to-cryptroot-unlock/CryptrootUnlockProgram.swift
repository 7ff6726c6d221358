import InitramfsKit
import MandosFormats
import POSIXKit

/// Gets this machine's password from plugin-runner(8mandos), and answers cryptsetup's askpass with it whenever that asks
/// for one on the console.
///
/// Runs until all volumes are open, until SIGTERM, which the local-premount script sends to the process in
/// `/run/mandos-to-cryptroot-unlock.pid`, or until the files of the initramfs are removed. Ends the processes that it started before it exits.
@main struct CryptrootUnlockProgram {
    private static let program: StaticString = "mandos-to-cryptroot-unlock"
    private static let pidFile = "/run/mandos-to-cryptroot-unlock.pid"

    private enum Option: Equatable, Sendable {}

    private static let reader = CommandLineReader<Option>(
        program: program,
        summary: "Get this machine's password from plugin-runner, and answer cryptsetup's askpass with it.", options: []
    )

    static func main() {
        Hardening.protectProcess()
        _ = reader.read(version: mandosVersion)
        ProgramEnding.of(program, endsWithReader: false) { (stop) throws(SystemError) in
            BackgroundProgram.leaveSession()
            var file: PIDFile?
            do throws(SystemError) {
                file = try PIDFile.lock(pidFile)
                try file?.write()
            } catch {
                if error.isHeldByAnother {
                    complain(program, "another one runs already, see " + pidFile)
                    return .exit(.unavailable)
                }
                // A missing PID file must not keep the machine from booting.
                complain(program, "\(error); going on, but nobody can end us by that file")
                file = nil
            }
            let ending = run(until: stop)
            file.take()?.remove()
            return ending
        }
    }

    private static func run(until stop: borrowing StopSignals) -> ProgramEnding {
        let table = try? readFile(CryptTable.path, limit: CryptTable.largestFile)
        if let table, CryptTable.hasOnlyKeyscripts(table) {
            complain(program, "nothing to do: all volumes have keyscripts, see " + CryptTable.path)
            return .exit(.success)
        }
        guard isExecutable(PluginRunner.path) else { return unavailable("no " + PluginRunner.path) }
        guard let path = HandOver.path else { return unavailable("no /bin/cryptroot-unlock") }
        do throws(SystemError) {
            let unlocking = try Unlocking(cryptrootUnlock: path) { complain(program, $0) }
            switch unlocking.run(until: stop) {
            case .done: return .exit(.success)
            case .gaveUp: return .exit(.unavailable)
            case .stopped(let signal): return .signal(signal)
            }
        } catch {
            complain(program, "\(error)")
            return .exit(.osError)
        }
    }

    private static func unavailable(_ what: String) -> ProgramEnding {
        complain(program, what + " in this initramfs; type the password on the console")
        return .exit(.unavailable)
    }
}
