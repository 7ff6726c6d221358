public import InitramfsKit
public import MandosTLS

/// Gets the password from whichever server gives one that decrypts first, trying all at the same time.
public final class PasswordFetch {
    /// What came of it.
    public enum Outcome {
        case password(SecretBuffer)
        /// A signal asked us to stop.
        case stopped(signal: Int32)
        /// Every server was tried as often as it was to be.
        case nothing
    }

    /// What is said while it goes on.
    public enum Report {
        /// Something failed, and we carry on.
        case problem(String)
        case detail(String)
    }

    private enum Work {
        case lookup(NameLookup)
        case conversation(Conversation)
        case decryption(Decryption)
    }

    /// One way of getting the password that is under way: one address of one server.
    private struct Attempt {
        let server: Int
        let work: Work
    }

    private let credentials: Credentials
    private let priority: Priority
    private let secretKeyFile: String
    private let interface: String?
    private let temporaryPlaces: [String]
    private let report: (Report) -> Void
    private var servers: [ServerName] = []
    private var toldProblems: [[String]] = []
    private var schedule: RetrySchedule
    private var attempts: [Attempt] = []

    /// `retryInterval` is in milliseconds; nil means that each server is tried once. `interface`, if given, is the
    /// only one to use, and the one that link-local addresses belong to.
    public init(
        credentials: Credentials, priority: Priority, secretKeyFile: String, interface: String?, retryInterval: Int64?,
        temporaryPlaces: [String] = Decryption.standardPlaces, report: @escaping (Report) -> Void
    ) {
        self.credentials = credentials
        self.priority = priority
        self.secretKeyFile = secretKeyFile
        self.interface = interface
        self.temporaryPlaces = temporaryPlaces
        self.report = report
        schedule = RetrySchedule(interval: retryInterval)
    }

    public func add(_ server: ServerName) {
        servers.append(server)
        toldProblems.append([])
        _ = schedule.add(at: .now())
    }

    public func run(until stop: borrowing StopSignals) -> Outcome {
        while true {
            let now = Deadline.now()
            for server in schedule.begin(at: now) { begin(server, at: now) }
            if let password = advance(at: now) { return .password(password) }
            if schedule.isExhausted { return .nothing }
            var set = PollSet()
            set.add(stop.descriptor.number)
            set.limit(to: schedule.nextDue)
            for attempt in attempts {
                switch attempt.work {
                case .lookup(let lookup): lookup.register(in: &set)
                case .conversation(let conversation): conversation.register(in: &set)
                case .decryption(let decryption): decryption.register(in: &set)
                }
            }
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
        }
    }

    private func begin(_ server: Int, at now: Deadline) {
        let name = servers[server]
        report(.detail("\(name): trying"))
        switch SocketAddress.resolve(host: name.host, port: name.port, isNumeric: true) {
        case .success(let addresses):
            converse(server, addresses, at: now)
        case .failure(let error) where error.isNotNumeric:
            do throws(SystemError) {
                let lookup = try NameLookup(host: name.host, port: name.port)
                attempts.append(Attempt(server: server, work: .lookup(lookup)))
            } catch {
                failed(server, "\(error)", at: now)
            }
        case .failure(let error):
            failed(server, "\(error)", at: now)
        }
    }

    private func converse(_ server: Int, _ addresses: [SocketAddress], at now: Deadline) {
        for address in addresses {
            do throws(AddressProblem) {
                attempts.append(Attempt(server: server, work: .conversation(try conversation(with: address, at: now))))
            } catch {
                tell(server, error.description)
            }
        }
        if !isBeingTried(server, besides: []) { schedule.failed(server, at: now) }
    }

    private struct AddressProblem: Error { let description: String }

    private func conversation(with address: SocketAddress, at now: Deadline) throws(AddressProblem) -> Conversation {
        var address = address
        if address.needsInterface {
            guard let interface else {
                throw AddressProblem(
                    description: "a link-local address needs an interface: write ADDRESS%INTERFACE, or --interface")
            }
            do throws(SystemError) {
                try address.setInterface(interface)
            } catch {
                throw AddressProblem(description: error.description)
            }
        }
        do throws(Conversation.Failure) {
            return try Conversation(
                to: address, interface: interface, credentials: credentials, priority: priority, at: now)
        } catch {
            throw AddressProblem(description: error.description)
        }
    }

    /// Lets every attempt go on; new attempts that come of it are let go on too.
    private func advance(at now: Deadline) -> SecretBuffer? {
        var pending = attempts
        attempts = []
        while let attempt = pending.popLast() {
            let server = attempt.server
            switch attempt.work {
            case .lookup(let lookup):
                switch lookup.advance() {
                case nil: attempts.append(attempt)
                case .success(let addresses): converse(server, addresses, at: now)
                case .failure(let error): failed(server, "\(error)", at: now)
                }
            case .conversation(let conversation):
                do throws(Conversation.Failure) {
                    if let message = try conversation.advance(at: now) {
                        report(.detail("\(servers[server]): sent \(message.count) bytes"))
                        let decryption = Decryption(
                            of: message, secretKeyFile: secretKeyFile, temporaryPlaces: temporaryPlaces)
                        pending.append(Attempt(server: server, work: .decryption(decryption)))
                    } else {
                        attempts.append(attempt)
                    }
                } catch {
                    failed(server, "\(error)", at: now, others: pending)
                }
            case .decryption(let decryption):
                do throws(Decryption.Failure) {
                    if let password = try decryption.advance(at: now) {
                        report(.detail("\(servers[server]): the password is decrypted"))
                        return password
                    }
                    attempts.append(attempt)
                } catch {
                    failed(server, "\(error)", at: now, others: pending)
                }
            }
        }
        return nil
    }

    /// An attempt has come to nothing; the server is tried again later, unless another of its addresses is still
    /// being tried.
    private func failed(_ server: Int, _ problem: String, at now: Deadline, others: [Attempt] = []) {
        tell(server, problem)
        if !isBeingTried(server, besides: others) { schedule.failed(server, at: now) }
    }

    private func isBeingTried(_ server: Int, besides others: [Attempt]) -> Bool {
        (attempts + others).contains { $0.server == server }
    }

    /// Says what failed, each thing once for each server: at every retry it would be said again.
    private func tell(_ server: Int, _ problem: String) {
        let isNew = !toldProblems[server].contains { $0.utf8.elementsEqual(problem.utf8) }
        let text = "\(servers[server]): \(problem)"
        guard isNew else { return report(.detail(text)) }
        toldProblems[server] = (toldProblems[server] + [problem]).suffix(Self.mostToldProblems)
        report(.problem(text))
    }

    private static let mostToldProblems = 16
}
