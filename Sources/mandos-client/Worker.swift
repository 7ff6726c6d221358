import InitramfsKit
import MandosClient
import MandosFormats
import MandosTLS
import POSIXKit

/// The work of the process that has the keys: it asks servers for the password, decrypts it, and hands it over.
struct Worker {
    let program: StaticString
    let settings: Settings
    let network: NetworkSetup
    let user: WorkerUser
    let directory: PrivateDirectory?

    private struct Unusable: Error {
        let problem: String
        let status: ExitStatus
    }

    /// `password` and `servers` are descriptors: a pipe to the supervisor, and a socket to the process that looks for servers.
    func run(
        password: Int32, servers: Int32, until stop: borrowing StopSignals
    ) throws(SystemError) -> ProgramEnding {
        if settings.debug { Self.logGnuTLS() }
        let fetch: PasswordFetch
        do throws(Unusable) {
            // As the user who started us: nobody else may be able to read the keys.
            fetch = try prepare()
        } catch {
            complain(program, error.problem)
            return .exit(error.status)
        }
        try user.become()
        // The supervisor does the same, unless it was killed.
        defer { directory?.emptyAsWorker() }
        if settings.connect == nil { try fetch.addAnnouncedServers(from: FileDescriptor(owning: servers)) }
        switch fetch.run(until: stop) {
        case .password(let secret):
            if try PasswordHandover.send(secret, to: password, until: stop) { return .exit(.success) }
            return stop.next().map { .signal($0) } ?? .exit(.ioError)
        case .stopped(let signal): return .signal(signal)
        case .nothing: return .exit(.unavailable)
        }
    }

    /// Reports what GnuTLS reports of its own work.
    private static func logGnuTLS() {
        unsafe TLSLog.begin { _, text in
            guard let text = unsafe text else { return }
            let line = unsafe Array(String(cString: text).utf8).prefix { $0 != UInt8(ascii: "\n") }
            complain("mandos-client", "GnuTLS: " + String(decoding: line, as: UTF8.self))
        }
    }

    private func prepare() throws(Unusable) -> PasswordFetch {
        let credentials = try credentials()
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
        let (program, isVerbose) = (program, settings.debug)
        let fetch = PasswordFetch(
            credentials: credentials, priority: priority, secretKeyFile: secretKeyFile(), network: network,
            retryInterval: settings.retryInterval.milliseconds,
            temporaryPlaces: (directory.map { [$0.path] } ?? []) + Decryption.standardPlaces
        ) { report in
            switch report {
            case .problem(let text): complain(program, text)
            case .detail(let text): if isVerbose { complain(program, text) }
            }
        }
        for server in settings.servers { fetch.add(server) }
        for domain in settings.domains { fetch.addServers(ofDomain: domain) }
        return fetch
    }

    private func credentials() throws(Unusable) -> Credentials {
        do throws(ClientKeys.Problem) {
            return try settings.keys.credentials(diffieHellman: settings.diffieHellman(program)) { error in
                complain(program, "--dh-params: \(error); using standard parameters")
            }
        } catch {
            throw Unusable(problem: "\(error)", status: .noInput)
        }
    }

    /// The path of the OpenPGP key for ``user``.
    private func secretKeyFile() -> String {
        let file = settings.keys.secretKeyFile
        do throws(SystemError) {
            return try directory?.copyOfRootsFile(file, limit: ClientKeys.maximumFileSize) ?? file
        } catch {
            complain(program, "\(error)")
            return file
        }
    }
}
