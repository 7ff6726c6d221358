import MandosCore

/// What there is to be seen of the clients, and who is told of changes.
extension Registry {
    /// From now on `observer` is told what happens. It must not wait for anything.
    public func observe(with observer: (@Sendable (RegistryEvent) -> Void)?) { self.observer = observer }

    /// A client as it is now.
    public func snapshot(_ name: String) -> ClientSnapshot? {
        guard let client = entries[name]?.client else { return nil }
        return ClientSnapshot(
            client: client, isApprovalPending: watchers[name] != nil, path: paths.add(name))
    }

    /// The clients' names, in order.
    public var names: [String] {
        if let sortedNames { return sortedNames }
        let names = entries.keys.sorted()
        sortedNames = names
        return names
    }

    /// Those of these clients that there still are.
    func snapshots(_ names: some Sequence<String>) -> [ClientSnapshot] { names.compactMap(snapshot) }

    /// Some clients whose names come after `name`, in order.
    func snapshots(after name: String, atMost limit: Int) -> [ClientSnapshot] {
        let names = names
        // Where the first name is that comes after.
        var (start, end) = (0, names.count)
        while start < end {
            let middle = (start + end) / 2
            if names[middle] > name { end = middle } else { start = middle + 1 }
        }
        return snapshots(names[start...].prefix(limit))
    }

    /// How many clients are enabled, and how many not.
    var countsByState: [String: Int] {
        let now = bootTime
        let enabled = entries.values.count { $0.client.isEnabled(at: now) }
        return ["enabled": enabled, "disabled": entries.count - enabled]
    }

    /// Which client is at a path on D-Bus.
    public func name(at path: String) -> String? { paths.name(at: path) }

    /// Tells the observer, if there is one, of something about a client that there still is.
    func tell(of name: String, _ event: (_ path: String) -> RegistryEvent) {
        guard let observer, entries[name] != nil else { return }
        observer(event(paths.add(name)))
    }

    /// What to compare with later, if anybody wants to know.
    func observedSnapshot(_ name: String) -> ClientSnapshot? { observer == nil ? nil : snapshot(name) }

    func tellOfChange(from before: ClientSnapshot?, _ name: String) {
        guard let observer, let before, let after = snapshot(name), before != after else { return }
        observer(.changed(from: before, to: after, at: environment.now()))
    }
}
