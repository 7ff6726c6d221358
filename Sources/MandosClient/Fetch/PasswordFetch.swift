import MandosFormats
public import MandosTLS
public import POSIXKit

/// Gets the password from the first server whose answer decrypts, asking all servers at the same time.
public final class PasswordFetch {
    public enum Outcome {
        case password(SecretBuffer)
        /// A signal asked us to stop.
        case stopped(signal: Int32)
        /// Every server was tried as often as it was to be.
        case nothing
    }

    /// A message to the user.
    public enum Report {
        /// A failure; the fetch goes on.
        case problem(String)
        case detail(String)
    }

    private let credentials: Credentials
    private let priority: Priority
    private let secretKeyFile: String
    private let network: NetworkSetup?
    private let retryInterval: Int64?
    private let temporaryPlaces: [String]
    private let report: (Report) -> Void
    private var servers: ServerList
    private var attempts = AttemptPool<FetchWork>()
    private var discovered: DiscoveredServers?
    private var reportedFailure = ""
    private var announcedLog = AnnouncedServersLog(at: .now())

    /// `retryInterval` is in milliseconds; nil means that each server is tried once. Without `network`, the machine's network
    /// is used as it is.
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
        servers = ServerList(retryInterval: retryInterval)
    }

    public func add(_ server: ServerName) { servers.add(.named(server), at: .now()) }

    /// Also asks the servers that DNS names for a domain, in `_mandos._tcp`. Source: RFC 2782.
    public func addServers(ofDomain domain: String) { servers.add(.domain(domain), at: .now()) }

    /// Also asks every server that is announced on the links of this machine.
    ///
    /// `socket` is our end of a ``SocketPair``; the other one is that of a ``DiscoveryProcess``.
    public func addAnnouncedServers(from socket: consuming FileDescriptor) throws(SystemError) {
        discovered = try DiscoveredServers(socket, at: .now())
    }

    public func run(until stop: borrowing StopSignals) -> Outcome {
        network?.begin()
        while true {
            let now = BootTime.now()
            followNetwork(at: now)
            followAnnouncements(at: now)
            // First, so that nobody is given up who has answered meanwhile.
            if let password = advanceAttempts(at: now) { return .password(password) }
            beginAttempts(at: now)
            summarize(at: now)
            while let server = attempts.boundMemory() {
                failed(server, "given up: servers have sent too much at once", at: now)
            }
            if servers.schedule.isExhausted { return .nothing }
            wait(stop, at: now)
            if let signal = stop.next() { return .stopped(signal: signal) }
        }
    }

    private func wait(_ stop: borrowing StopSignals, at now: BootTime) {
        var set = PollSet()
        set.add(stop.descriptor.number)
        network?.register(in: &set)
        if isNetworkReady, let due = servers.schedule.nextDue { set.limit(to: attempts.nextRoom(from: due)) }
        set.limit(to: discovered != nil ? announcedLog.nextSummary : nil)
        attempts.register(in: &set)
        discovered?.register(in: &set, at: now)
        set.wait()
    }

    // MARK: Finding servers

    private var isNetworkReady: Bool { network?.isReady ?? true }

    private func followNetwork(at now: BootTime) {
        if let network, network.advance(at: now) { servers.schedule.networkHasChanged(at: now) }
    }

    /// The interface with this index, if servers are looked for there.
    private static func interface(_ index: UInt32, of network: NetworkSetup?) -> NetworkInterface? {
        NetworkInterface.with(index: index).flatMap { network?.selection.uses($0) ?? true ? $0 : nil }
    }

    private func followAnnouncements(at now: BootTime) {
        let network = network
        let events = discovered?.takeEvents(isOurs: { Self.interface($0, of: network) != nil }, at: now)
        for event in events ?? [] {
            switch event {
            case .failed(let reason):
                // The process is started again every second.
                guard !reason.utf8.elementsEqual(reportedFailure.utf8) else { continue }
                reportedFailure = reason
                report(.problem("cannot look for servers with multicast DNS: " + reason + "; trying again"))
            case .found(let service, let address):
                guard let interface = Self.interface(service.interface, of: network) else { continue }
                let added = servers.announced(
                    service, at: address, interface: interface.name, isTrying: attempts.isTrying, at: now)
                if let added { detail("announced", of: added) }
            case .removed(let announcement):
                for removed in servers.withdrawn(announcement) {
                    report(.detail(removed.description + ": not announced any more"))
                }
            }
        }
    }

    // MARK: Beginning attempts

    private func beginAttempts(at now: BootTime) {
        guard isNetworkReady else { return }
        for server in servers.schedule.begin(at: now, atMost: attempts.room(at: now)) {
            if let replaced = attempts.makeRoom(at: now) {
                failed(replaced, "given up for others: too many servers at once", at: now)
            }
            begin(server, at: now)
        }
    }

    private func begin(_ server: Int, at now: BootTime) {
        guard let origin = servers[server]?.origin else { return }
        detail("trying", of: server)
        switch origin {
        case .announced(let service, let address): converse(server, service, address, at: now)
        case .domain(let domain): lookUp(.services(name: "_mandos._tcp." + domain), for: server, at: now)
        case .named(let name):
            switch SocketAddress.resolve(host: name.host, port: name.port, isNumeric: true) {
            case .success(let addresses): converse(server, addresses, at: now)
            case .failure(let error) where error.isNotNumeric:
                lookUp(.addresses(host: name.host, port: name.port), for: server, at: now)
            case .failure(let error): failed(server, error.description, at: now)
            }
        }
    }

    private func lookUp(_ question: NameLookup.Question, for server: Int, at now: BootTime) {
        do throws(SystemError) {
            attempts.add(.lookup(try NameLookup(question)), for: server, at: now)
        } catch {
            failed(server, error.description, at: now)
        }
    }

    /// Asks a named server, at all its addresses.
    private func converse(_ server: Int, _ addresses: [SocketAddress], at now: BootTime) {
        var lacksNetwork = false
        for address in addresses {
            do throws(Conversation.Failure) {
                let conversation = try Conversation(
                    to: address, interface: network?.selection.only, credentials: credentials, priority: priority,
                    at: now)
                attempts.add(.conversation(conversation), for: server, peer: address.peer, at: now)
            } catch {
                lacksNetwork = lacksNetwork || error.lacksNetwork
                report(error.description, of: server, lacksNetwork: error.lacksNetwork)
            }
        }
        if !attempts.isTrying(server) { retry(server, at: now, lacksNetwork: lacksNetwork) }
    }

    /// Asks an announced server.
    private func converse(_ server: Int, _ service: Discovery.Service, _ address: SocketAddress, at now: BootTime) {
        let interface = NetworkInterface.name(of: service.interface)
        do throws(Conversation.Failure) {
            let conversation = try Conversation(
                to: address, interface: interface, credentials: credentials, priority: priority, at: now)
            attempts.add(.conversation(conversation), for: server, peer: address.peer, at: now)
        } catch {
            if error.lacksNetwork, let interface, servers[server]?.needsRoute() ?? false {
                network?.addRoute(to: address, through: interface)
            }
            failed(server, error.description, at: now, lacksNetwork: error.lacksNetwork)
        }
    }

    // MARK: Results

    /// Lets every attempt go on, and acts on the results.
    private func advanceAttempts(at now: BootTime) -> SecretBuffer? {
        attempts.beginTurn()
        while let (server, result) = attempts.advance(at: now) {
            switch result {
            case .underWay: break
            case .answered(.addresses(let addresses)): converse(server, addresses, at: now)
            case .answered(.services(let names)):
                servers.addFromDNS(names, at: now)
                // Asked again: what DNS answers may change.
                retry(server, at: now)
            case .received(let message):
                detail("sent \(message.count) bytes", of: server)
                let report = report
                let decryption = Decryption(
                    of: message, secretKeyFile: secretKeyFile, temporaryPlaces: temporaryPlaces
                ) { report(.problem($0)) }
                attempts.add(.decryption(decryption), for: server, at: now)
            case .decrypted(let password):
                detail("the password is decrypted", of: server)
                return password
            case .failed(let problem, let lacksNetwork): failed(server, problem, at: now, lacksNetwork: lacksNetwork)
            }
        }
        return nil
    }

    /// Reports that an attempt failed. The server is tried again later, unless another of its attempts is still under way.
    private func failed(_ server: Int, _ problem: String, at now: BootTime, lacksNetwork: Bool = false) {
        report(problem, of: server, lacksNetwork: lacksNetwork)
        if !attempts.isTrying(server) { retry(server, at: now, lacksNetwork: lacksNetwork) }
    }

    private func retry(_ server: Int, at now: BootTime, lacksNetwork: Bool = false) {
        let jitter = Int64(randomNumber(below: UInt32(clamping: (retryInterval ?? 0) / 10 + 1)))
        servers.failed(server, at: now, lacksNetwork: lacksNetwork, jitter: jitter)
    }

    /// Tells that somebody makes us ask many servers, if so: a person may wonder what takes so long.
    private func summarize(at now: BootTime) {
        if let text = announcedLog.summary(knowing: servers.announcedCount, asking: attempts.count, at: now) {
            report(.problem(text))
        }
    }

    private func detail(_ text: String, of server: Int) {
        report(.detail((servers[server]?.description ?? "") + ": " + text))
    }

    /// Reports a failure, once for each server; while the network may still come up, lack of it is a detail.
    private func report(_ problem: String, of server: Int, lacksNetwork: Bool) {
        guard let description = servers[server]?.description else { return }
        if (lacksNetwork && network?.deadline != nil) || !(servers[server]?.isNew(problem) ?? false) {
            return detail(problem, of: server)
        }
        if servers[server]?.announcement != nil, !announcedLog.admitsLine() { return detail(problem, of: server) }
        report(.problem(description + ": " + problem))
    }
}
