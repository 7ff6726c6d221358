import MandosFormats
public import MandosTLS
public import POSIXKit

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

    /// No more attempts than this are under way. Beyond it, old ones make room for others.
    private static let mostAttempts = 200
    /// No more servers than this are known from DNS and options.
    private static let mostNamedServers = 1000
    /// What servers have sent takes no more memory than this, in bytes. Beyond it, the one who sent most is given up.
    private static let mostReceived = 3 * ProtocolLimits.largestSecret
    /// No more messages than this are decrypted at the same time; the others wait for their turn.
    private static let mostDecryptions = 4

    private let credentials: Credentials
    private let priority: Priority
    private let secretKeyFile: String
    private let network: NetworkSetup?
    private let retryInterval: Int64?
    private let temporaryPlaces: [String]
    private let report: (Report) -> Void
    private var servers: [KnownServer] = []
    private var schedule: RetrySchedule
    private var attempts: [FetchAttempt] = []
    private var looksForServers = false
    private var discovery: Discovery?

    /// `retryInterval` is in milliseconds; nil means that each server is tried once. Without a `network`, it is as it is.
    public init(
        credentials: Credentials, priority: Priority, secretKeyFile: String, network: NetworkSetup?,
        retryInterval: Int64?, temporaryPlaces: [String] = Decryption.standardPlaces,
        report: @escaping (Report) -> Void
    ) {
        self.credentials = credentials
        self.priority = priority
        self.secretKeyFile = secretKeyFile
        self.network = network
        self.retryInterval = retryInterval
        self.temporaryPlaces = temporaryPlaces
        self.report = report
        schedule = RetrySchedule(interval: retryInterval)
    }

    public func add(_ server: ServerName) { add(.named(server)) }

    /// Asks also the servers that DNS names for a domain, in `_mandos._tcp`. Source: RFC 2782.
    public func addServers(ofDomain domain: String) { add(.domain(domain)) }

    /// Asks also every server that is announced on the links of this machine.
    public func lookForServers() { looksForServers = true }

    public func run(until stop: borrowing StopSignals) -> Outcome {
        network?.begin()
        while true {
            let now = BootTime.now()
            followNetwork(at: now)
            followAnnouncements(at: now)
            beginAttempts(at: now)
            if let password = advance(at: now) { return .password(password) }
            boundMemory(at: now)
            if schedule.isExhausted { return .nothing }
            wait(stop)
            if let signal = stop.next() { return .stopped(signal: signal) }
        }
    }

    private func wait(_ stop: borrowing StopSignals) {
        var set = PollSet()
        set.add(stop.descriptor.number)
        network?.register(in: &set)
        if isNetworkReady, let due = schedule.nextDue {
            // With no room for it, that is what is waited for.
            let room = attempts.count < Self.mostAttempts ? due : attempts.compactMap { $0.isReplaceableFrom }.min()
            set.limit(to: room.map { max($0, due) })
        }
        for server in servers where isBeingTried(server.id) { set.limit(to: server.nextAddressDue) }
        for attempt in attempts { attempt.register(in: &set) }
        if let discovery { discovery.wait(&set) } else { set.wait() }
    }

    // MARK: Servers

    private var isNetworkReady: Bool { network?.isReady ?? true }

    private func followNetwork(at now: BootTime) {
        guard let network, network.advance(at: now) else { return }
        schedule.networkHasChanged(at: now)
        guard looksForServers, discovery == nil, network.isReady else { return }
        do throws(Discovery.Failure) {
            discovery = try Discovery()
        } catch {
            // Another try is made when the network changes.
            report(.problem("cannot look for servers with multicast DNS: \(error)"))
        }
    }

    private func followAnnouncements(at now: BootTime) {
        for event in discovery?.news() ?? [] {
            switch event {
            case .failed(let reason):
                report(.problem("cannot look for servers with multicast DNS: \(reason)"))
                // Another try is made when the network changes.
                discovery = nil
            case .found(let service, let address): found(service, address, at: now)
            case .removed(let service, let isIPv6):
                guard let index = index(of: service) else { continue }
                servers[index].removeAddresses(isIPv6: isIPv6)
                guard servers[index].addresses.isEmpty else { continue }
                // What is under way may still come to something; it is not tried again.
                report(.detail("\(servers[index].description): not announced any more"))
                schedule.remove(servers[index].id)
                servers.remove(at: index)
            }
        }
    }

    private func found(_ service: Discovery.Service, _ address: SocketAddress, at now: BootTime) {
        guard let interface = NetworkInterface.with(index: service.interface),
            network?.selection.uses(interface) ?? true
        else { return }
        if let index = index(of: service) {
            guard servers[index].add(address) else { return }
            if isBeingTried(servers[index].id) {
                servers[index].alsoTry(address, at: now)
            } else {
                schedule.renew(servers[index].id, at: now)
            }
        } else {
            add(.announced(service), address, at: now)
        }
    }

    private func index(of service: Discovery.Service) -> Int? {
        servers.firstIndex { server in
            if case .announced(let other) = server.origin { other == service } else { false }
        }
    }

    private func add(_ origin: KnownServer.Origin, _ address: SocketAddress? = nil, at now: BootTime = .now()) {
        var server = KnownServer(origin, id: schedule.add(at: now))
        if let address {
            _ = server.add(address)
            report(.detail("\(server.description): announced"))
        }
        servers.append(server)
    }

    private func index(_ server: Int) -> Int? { servers.firstIndex { $0.id == server } }

    // MARK: Attempts

    private func beginAttempts(at now: BootTime) {
        for index in servers.indices {
            let server = servers[index].id
            guard let due = servers[index].nextAddressDue, due <= now, isBeingTried(server) else { continue }
            tryNextAddress(server, at: now)
        }
        guard isNetworkReady else { return }
        let room = max(Self.mostAttempts - attempts.count, 0) + attempts.count { $0.isReplaceable(at: now) }
        for server in schedule.begin(at: now, most: room) {
            makeRoom(at: now)
            begin(server, at: now)
        }
    }

    private func begin(_ server: Int, at now: BootTime) {
        guard let index = index(server) else { return }
        report(.detail("\(servers[index].description): trying"))
        switch servers[index].origin {
        case .announced:
            servers[index].beginAddresses()
            tryNextAddress(server, at: now)
        case .domain(let domain): lookUp(.services(name: "_mandos._tcp." + domain), for: server, at: now)
        case .named(let name):
            switch SocketAddress.resolve(host: name.host, port: name.port, isNumeric: true) {
            case .success(let addresses): converse(server, addresses, at: now)
            case .failure(let error) where error.isNotNumeric:
                lookUp(.addresses(host: name.host, port: name.port), for: server, at: now)
            case .failure(let error): failed(server, "\(error)", at: now)
            }
        }
    }

    private func lookUp(_ question: NameLookup.Question, for server: Int, at now: BootTime) {
        do throws(SystemError) {
            attempts.append(FetchAttempt(server: server, begun: now, work: .lookup(try NameLookup(question))))
        } catch {
            failed(server, "\(error)", at: now)
        }
    }

    private func answered(_ answer: NameLookup.Answer, for server: Int, at now: BootTime) {
        switch answer {
        case .addresses(let addresses): converse(server, addresses, at: now)
        case .services(let services):
            for (host, port) in services {
                let name = ServerName(host: host, port: port)
                if !isKnown(name), servers.count(where: { $0.isNamed }) < Self.mostNamedServers { add(.named(name)) }
            }
            // What DNS says may change.
            schedule.failed(server, at: now, jitter: jitter)
        }
    }

    private func isKnown(_ name: ServerName) -> Bool {
        servers.contains { server in
            if case .named(let other) = server.origin { other == name } else { false }
        }
    }

    /// Asks a server that was named, at all its addresses.
    private func converse(_ server: Int, _ addresses: [SocketAddress], at now: BootTime) {
        var lacksNetwork = false
        for address in addresses {
            do throws(Conversation.Failure) {
                let conversation = try conversation(with: address, through: network?.selection.only, at: now)
                attempts.append(FetchAttempt(server: server, begun: now, work: .conversation(conversation)))
            } catch {
                lacksNetwork = lacksNetwork || error.lacksNetwork
                tell(server, "\(error)", lacksNetwork: error.lacksNetwork)
            }
        }
        if !isBeingTried(server) {
            schedule.failed(server, at: now, lacksNetwork: lacksNetwork, jitter: jitter)
        }
    }

    /// Asks a server that was announced, at the next of its addresses.
    private func tryNextAddress(_ server: Int, at now: BootTime) {
        guard let index = index(server), case .announced(let service) = servers[index].origin else { return }
        guard let address = servers[index].nextAddress(at: now) else { return }
        // Under however many names: it is asked once at a time.
        if attempts.contains(where: { $0.address?.isSame(as: address) ?? false }) {
            return failed(server, "already being asked under another name", at: now)
        }
        let interface = NetworkInterface.name(of: service.interface)
        do throws(Conversation.Failure) {
            let conversation = try conversation(with: address, through: interface, at: now)
            attempts.append(
                FetchAttempt(server: server, begun: now, work: .conversation(conversation), address: address))
        } catch {
            if error.lacksNetwork, servers[index].needsRoute(to: address), let interface {
                network?.addRoute(to: address, through: interface)
            }
            failed(server, "\(error)", at: now, lacksNetwork: error.lacksNetwork)
        }
    }

    private func conversation(
        with address: SocketAddress, through interface: String?, at now: BootTime
    ) throws(Conversation.Failure) -> Conversation {
        try Conversation(to: address, interface: interface, credentials: credentials, priority: priority, at: now)
    }

    /// Lets every attempt go on; new attempts that come of it are let go on too.
    private func advance(at now: BootTime) -> SecretBuffer? {
        var pending = attempts[...]
        attempts = []
        var decryptionCount = 0
        while let attempt = pending.popFirst() {
            let server = attempt.server
            switch attempt.work {
            case .lookup(let lookup):
                switch lookup.advance() {
                case nil: attempts.append(attempt)
                case .success(let answer): answered(answer, for: server, at: now)
                case .failure(let error): failed(server, "\(error)", at: now, lacksNetwork: error.isTemporary)
                }
            case .conversation(let conversation):
                do throws(Conversation.Failure) {
                    if let message = try conversation.advance(at: now) {
                        report(.detail("\(description(of: server)): sent \(message.count) bytes"))
                        let decryption = Decryption(
                            of: message, secretKeyFile: secretKeyFile, temporaryPlaces: temporaryPlaces)
                        pending.append(FetchAttempt(server: server, begun: now, work: .decryption(decryption)))
                    } else {
                        if conversation.isHandshakeCompleted, let index = index(server) { servers[index].settle() }
                        attempts.append(attempt)
                    }
                } catch {
                    failed(server, "\(error)", at: now, lacksNetwork: error.lacksNetwork, others: pending)
                }
            case .decryption(let decryption):
                guard decryptionCount < Self.mostDecryptions else {
                    attempts.append(attempt)
                    continue
                }
                do throws(Decryption.Failure) {
                    if let password = try decryption.advance(at: now) {
                        report(.detail("\(description(of: server)): the password is decrypted"))
                        return password
                    }
                    decryptionCount += 1
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
    private func failed(
        _ server: Int, _ problem: String, at now: BootTime, lacksNetwork: Bool = false,
        others: ArraySlice<FetchAttempt> = []
    ) {
        tell(server, problem, lacksNetwork: lacksNetwork)
        if let index = index(server), !servers[index].untried.isEmpty { return tryNextAddress(server, at: now) }
        if isBeingTried(server, besides: others) { return }
        schedule.failed(server, at: now, lacksNetwork: lacksNetwork, jitter: jitter)
    }

    private func isBeingTried(_ server: Int, besides others: ArraySlice<FetchAttempt> = []) -> Bool {
        attempts.contains { $0.server == server } || others.contains { $0.server == server }
    }

    private var jitter: Int64 { Int64(randomNumber(below: UInt32(clamping: (retryInterval ?? 0) / 10 + 1))) }

    // MARK: Limits

    private func makeRoom(at now: BootTime) {
        guard attempts.count >= Self.mostAttempts else { return }
        guard let index = attempts.firstIndex(where: { $0.isReplaceable(at: now) }) else { return }
        let oldest = attempts.remove(at: index)
        failed(oldest.server, "given up for others: too many servers at once", at: now)
    }

    private func boundMemory(at now: BootTime) {
        while attempts.reduce(0, { $0 + $1.size }) > Self.mostReceived {
            guard let index = attempts.indices.max(by: { attempts[$0].size < attempts[$1].size }) else {
                return
            }
            let largest = attempts.remove(at: index)
            failed(largest.server, "given up: servers have sent too much at once", at: now)
        }
    }

    // MARK: What is said

    private func description(of server: Int) -> String { index(server).map { servers[$0].description } ?? "" }

    /// Says what failed, each thing once for each server; what only waits for the network is not said too soon.
    private func tell(_ server: Int, _ problem: String, lacksNetwork: Bool) {
        guard let index = index(server) else { return }
        let text = "\(servers[index].description): \(problem)"
        if lacksNetwork, network?.patience != nil { return report(.detail(text)) }
        report(servers[index].isNews(problem) ? .problem(text) : .detail(text))
    }
}
