import MandosCore

/// Snapshots of the clients, and the subscriber to changes.
extension Registry {
    /// Sets the function that is called with every event, or none if it is nil. It must not block.
    public func subscribe(_ subscriber: (@Sendable (RegistryEvent) -> Void)?) { self.subscriber = subscriber }

    /// Tells the subscriber about those of `names` that exist as if they were new.
    func announce(_ names: some Sequence<String>) {
        guard let subscriber else { return }
        for snapshot in snapshots(names) { subscriber(.added(snapshot)) }
    }

    /// The clients' names, in no order: sorting many takes long.
    var unsortedNames: [String] { Array(roster.entries.keys) }

    /// A client as it is now; nil if there is none of that name.
    public func snapshot(_ name: String) -> ClientSnapshot? {
        guard let entry = roster[name] else { return nil }
        let isApprovalPending = entry.client.settings.keyID.map { waiting[$0] != nil } ?? false
        return ClientSnapshot(
            client: entry.client, expires: entry.expires(at: environment.now()),
            isApprovalPending: isApprovalPending, path: path(of: name))
    }

    /// The clients' names, in order.
    public var names: [String] {
        let names = sortedNames ?? roster.names
        sortedNames = names
        return names
    }

    /// How many clients there are.
    public var count: Int { roster.count }

    /// The clients among `names` that exist.
    func snapshots(_ names: some Sequence<String>) -> [ClientSnapshot] { names.compactMap(snapshot) }

    /// Up to `limit` clients whose names come after `name`, in order.
    func snapshots(after name: String, atMost limit: Int) -> [ClientSnapshot] {
        let names = names
        var (start, end) = (0, names.count)
        while start < end {
            let middle = (start + end) / 2
            if names[middle] > name { end = middle } else { start = middle + 1 }
        }
        return snapshots(names[start...].prefix(limit))
    }

    /// How many clients are enabled and disabled.
    var countsByState: [String: Int] {
        let now = bootTime
        let enabled = roster.entries.values.count { $0.client.isEnabled(at: now) }
        return ["enabled": enabled, "disabled": roster.count - enabled]
    }

    /// Disables the clients at these paths on D-Bus; durable when it returns.
    public func disable(paths: [String]) async throws(Failure) {
        try await disable(paths.map { name(at: $0) ?? $0 })
    }

    /// The name of the client at a path on D-Bus.
    public func name(at path: String) -> String? { paths.name(at: path) }

    /// The client's path on D-Bus. One that does not follow from the name alone is saved.
    func path(of name: String) -> String {
        let path = paths.add(name)
        if let entry = roster[name], entry.objectPath == nil, !paths.isPlain(path, for: name) {
            entry.objectPath = path
            saveLater([name], within: Self.saveDelay)
        }
        return path
    }

    /// Tells the subscriber about an event of a client that exists.
    func publish(about name: String, _ event: (_ path: String) -> RegistryEvent) {
        guard let subscriber, roster[name] != nil else { return }
        subscriber(event(path(of: name)))
    }

    /// The snapshot to compare with after a change; nil if there is no subscriber.
    func subscribedSnapshot(_ name: String) -> ClientSnapshot? { subscriber == nil ? nil : snapshot(name) }

    /// Tells the subscriber if the client differs from `before`.
    func publishChange(from before: ClientSnapshot?, _ name: String) {
        guard let subscriber, let before, let after = snapshot(name), before != after else { return }
        subscriber(.changed(from: before, to: after, at: environment.now()))
    }
}
