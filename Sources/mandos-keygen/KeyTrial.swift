import MandosClient
import MandosFormats
import MandosTLS
import POSIXKit

/// A test of a client's keys, in the same way as the next reboot uses them.
struct KeyTrial {
    let directory: KeyDirectory
    let gnuPG: GnuPG

    /// Runs all tests, and prints a line for each one that passes.
    ///
    /// - Throws: if a test fails.
    func run(connectingTo server: ServerName?, until stop: borrowing StopSignals) throws(KeygenError) {
        try tryTLSKeys()
        try tryOpenPGPKeys(until: stop)
        if let server { try ask(server, until: stop) }
    }

    private func tryTLSKeys() throws(KeygenError) {
        let privateKey = try directory.contents(of: .tlsPrivateKey)
        let publicKey = try directory.contents(of: .tlsPublicKey)
        let (keyID, derivedID) = try KeygenError.wrap { () throws(TLSError) in
            (try PublicKey.read(pem: publicKey).keyID, try PublicKey.derive(from: .read(pem: privateKey)).keyID)
        }
        guard derivedID == keyID else {
            throw KeygenError(
                "the two TLS keys in \(directory.path) do not belong together; make new ones with --force")
        }
        try Output.write("ok: the TLS keys belong together; the server knows them as key_id = \(keyID)\n")
    }

    private func tryOpenPGPKeys(until stop: borrowing StopSignals) throws(KeygenError) {
        var generator = SystemRandomNumberGenerator()
        let probe = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let message = try gnuPG.encrypt(SecretBuffer(probe), for: directory, until: stop)
        let programs = DecryptionProgram.installed()
        if programs.isEmpty { throw KeygenError("no OpenPGP program is installed; install sqop or gpg") }
        for program in programs {
            let decryption = Decryption(
                of: message, secretKeyFile: directory.path(of: .secretKey), programs: [program],
                temporaryPlaces: GnuPG.temporaryPlaces)
            guard try finish(decryption, until: stop).copy == probe else {
                throw KeygenError("\(program.path) does not give back what was encrypted")
            }
            try Output.write("ok: \(program.path) decrypts with the OpenPGP keys\n")
        }
    }

    private func finish(_ decryption: Decryption, until stop: borrowing StopSignals) throws(KeygenError) -> SecretBuffer
    {
        while true {
            let password = try KeygenError.wrap { () throws(Decryption.Failure) in try decryption.advance(at: .now()) }
            if let password { return password }
            var set = PollSet()
            set.add(stop.descriptor.number)
            decryption.register(in: &set)
            set.wait()
            if let signal = stop.next() { throw .interrupted(signal: signal) }
        }
    }

    private func ask(_ server: ServerName, until stop: borrowing StopSignals) throws(KeygenError) {
        var keys = ClientKeys()
        keys.secretKeyFile = directory.path(of: .secretKey)
        keys.tlsPublicKeyFile = directory.path(of: .tlsPublicKey)
        keys.tlsPrivateKeyFile = directory.path(of: .tlsPrivateKey)
        let credentials = try KeygenError.wrap { () throws(ClientKeys.Problem) in
            try keys.credentials(diffieHellman: .automatic)
        }
        var problems: [String] = []
        let fetch = PasswordFetch(
            credentials: credentials, priority: try KeygenError.wrap { () throws(TLSError) in try Priority() },
            secretKeyFile: keys.secretKeyFile, network: nil, retryInterval: nil,
            temporaryPlaces: GnuPG.temporaryPlaces
        ) { report in
            if case .problem(let text) = report { problems.append(text) }
        }
        fetch.add(server)
        switch fetch.run(until: stop) {
        case .password: try Output.write("ok: \(server) gives a password, and it decrypts\n")
        case .stopped(let signal): throw .interrupted(signal: signal)
        case .nothing: throw KeygenError(problems.joined(separator: "; "))
        }
    }
}
