import ArgumentParser
import MandosBus
import MandosFormats
import POSIXKit

/// The work of the command.
extension MandosCtl {
    func run() {
        do throws(BusError) {
            let server = try ServerProxy(isTracing: debug)
            if check { return try tell(singleLine("The bus answers, and \(server.greeting()).")) }
            if let add { return try self.add(Self.contents(of: add), to: server) }
            if absent { return try listAbsent(server) }
            if forget { return try forgetClients(server) }
            if reload { return try server.reload() }
            if status { return try showStatus(server) }
            if watch { try Watch(server, names: clients, asJSON: dumpJson).run() }
            if !isChange && !isEnabled { return try list(server) }
            try act(on: find(try server.clients([.name, .enabled])), server)
        } catch {
            Self.stop(ServerProxy.explain(error), status ? .critical : .failure)
        }
    }

    /// The settings to change, as D-Bus properties.
    var settings: [(ClientProperty, BusValue)] {
        func span(_ property: ClientProperty, _ span: TimeSpan?) -> (ClientProperty, BusValue)? {
            span.map { (property, .uint64(UInt64($0.milliseconds))) }
        }
        return [
            checker.map { (.checker, .string($0)) }, host.map { (.host, .string($0)) },
            span(.timeout, timeout), span(.extendedTimeout, extendedTimeout), span(.interval, interval),
            span(.approvalDelay, approvalDelay), span(.approvalDuration, approvalDuration),
            defaultApproval.map { (.approvedByDefault, .boolean($0 == .approveByDefault)) },
        ].compactMap { $0 }
    }

    private func list(_ server: ServerProxy) throws(BusError) {
        let properties = verbose || dumpJson ? ClientTable.allColumns : ClientTable.usualColumns
        let found = find(try server.clients(properties))
        tell(dumpJson ? ClientJSON.text(found, properties) : ClientTable(found, properties).text)
    }

    /// The clients named on the command line, or all. Exits if one does not exist.
    private func find(_ clients: [ClientProxy]) -> [ClientProxy] {
        if self.clients.isEmpty { return clients }
        let byName = Dictionary(clients.map { ($0.name, $0) }) { $1 }
        let missing = self.clients.filter { byName[$0] == nil }
        if !missing.isEmpty {
            let list = missing.map { "\"\($0)\"" }.joined(separator: ", ")
            Self.stop("the server has no client \(list); nothing was changed", .failure)
        }
        return self.clients.compactMap { byName[$0] }
    }

    private func act(on clients: [ClientProxy], _ server: ServerProxy) throws(BusError) {
        if isEnabled {
            let status: Status = clients.allSatisfy { $0[.enabled]?.boolean == true } ? .success : .failure
            Self.exit(status)
        }
        var changes = settings
        if let secret { changes.append((.secret, .bytes(Self.contents(of: secret)))) }
        var attempts = Attempts()
        // What is left to do one by one.
        var rest = enabling
        if enabling == .disable {
            let subject = clients.count == 1 ? clients[0].name : "\(clients.count) clients"
            try attempts.make(subject) { () throws(BusError) in if try server.disable(clients) { rest = nil } }
            if attempts.failures > 0 { rest = nil }
        }
        for client in clients {
            try attempts.make(client.name) { () throws(BusError) in try act(on: client, changes, rest, server) }
        }
        if let approval, wait {
            try server.answerWhenAsked(clients, approved: approval == .approve)
        }
        if attempts.failures > 0 { Self.exit(.failure) }
    }

    /// What fails for one client is done for the others all the same.
    private struct Attempts {
        var failures = 0

        mutating func make(_ subject: String, _ body: () throws(BusError) -> Void) throws(BusError) {
            do throws(BusError) {
                try body()
            } catch {
                if error.isNameWithoutOwner { throw error }
                complain("mandos-ctl", "\(subject): \(ServerProxy.explain(error))")
                failures += 1
            }
        }
    }

    private func act(
        on client: ClientProxy, _ changes: [(ClientProperty, BusValue)], _ enabling: Enabling?, _ server: ServerProxy
    ) throws(BusError) {
        for (property, value) in changes { try server.set(property, to: value, of: client) }
        if let enabling { try server.set(.enabled, to: .boolean(enabling == .enable), of: client) }
        if bumpTimeout { try server.set(.lastCheckedOK, to: .string(""), of: client) }
        if let checking {
            try server.set(.checkerRunning, to: .boolean(checking == .startChecker), of: client)
        }
        if let approval, !wait { try server.answer(client, approved: approval == .approve) }
        if remove { try server.remove(client) }
    }

    private func add(_ section: [UInt8], to server: ServerProxy) throws(BusError) {
        let client = try server.add(section)
        if client.isEnabled { return }
        tell(
            "added, but disabled: so clients.conf says, or so its key was when it left; run mandos-ctl --enable \(client.name)"
        )
    }

    private func listAbsent(_ server: ServerProxy) throws(BusError) {
        for (name, keyID) in try server.absentClients() { tell(singleLine("\(name)  \(keyID)")) }
    }

    private func forgetClients(_ server: ServerProxy) throws(BusError) {
        var attempts = Attempts()
        for name in clients { try attempts.make(name) { () throws(BusError) in try server.forget(name) } }
        if attempts.failures > 0 { Self.exit(.failure) }
    }

    private func showStatus(_ server: ServerProxy) throws(BusError) {
        let status = try server.status()
        tell(status.lines.map(singleLine).joined(separator: "\n"))
        Self.exit(status.isGood ? .success : .failure)
    }

    private static func contents(of path: String) -> [UInt8] {
        do throws(SystemError) {
            return try readFile(path == "-" ? "/dev/stdin" : path, limit: largestSecret)
        } catch {
            stop("\(error)", .failure)
        }
    }

    /// In bytes; the same as the server's limit.
    private static let largestSecret = 16 << 20

    enum Status: Int32 {
        case success = 0
        case failure = 1
        /// There is no server; the value is for monitoring systems.
        case critical = 2
    }

    private static func exit(_ status: Status) -> Never { Self.exit(withError: ExitCode(status.rawValue)) }

    private static func stop(_ message: String, _ status: Status) -> Never {
        complain("mandos-ctl", message)
        exit(status)
    }
}

/// Writes lines to standard output at once; exits if that fails.
func tell(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    do {
        _ = try unsafe bytes.withUnsafeBytes { try unsafe writeAll($0, to: ExitStatus.standardOutput) }
    } catch {
        complain("mandos-ctl", "standard output: \(error)")
        MandosCtl.exit(withError: ExitCode(MandosCtl.Status.failure.rawValue))
    }
}
