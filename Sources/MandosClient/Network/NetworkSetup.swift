import MandosFormats
public import POSIXKit

/// Brings up the network that servers are asked through, and leaves it as it was.
///
/// What needs root is done by ``NetworkHelper`` in a process of its own; here is decided what that is to do.
public final class NetworkSetup {
    /// Nil once it has ended.
    private var caretaker: PrivilegedHelper?
    private let events: NetworkEvents
    let selection: InterfaceSelection
    private let delay: Int64
    private let report: (String) -> Void
    private var haveHooksRun = false
    private var isSettled = false
    private var taken: [UInt32] = []
    /// When what is not there yet will not be waited for any more; nil after that.
    private(set) var patience: BootTime?

    /// Starts the process that is root, for a process that still has one thread and its privileges.
    ///
    /// `delay` is how long interfaces may take to run, in milliseconds. `complain` is used in the other process too.
    public static func begin(
        _ selection: InterfaceSelection, hooks: NetworkHooks, delay: Int64, isVerbose: Bool,
        complain: @escaping (String) -> Void
    ) throws(SystemError) -> NetworkSetup {
        let isSetUID = Hardening.isSetUID
        let process = try PrivilegedHelper.start(name: "mandos-network", keeping: [ExitStatus.standardError]) {
            socket in
            NetworkHelper(hooks: hooks, isSetUID: isSetUID, isVerbose: isVerbose, complain: complain).serve(socket)
        }
        try process.socket.setNonBlocking()
        return NetworkSetup(process, try NetworkEvents(), selection, delay, complain)
    }

    private init(
        _ caretaker: consuming PrivilegedHelper, _ events: consuming NetworkEvents, _ selection: InterfaceSelection,
        _ delay: Int64, _ report: @escaping (String) -> Void
    ) {
        self.report = report
        self.caretaker = consume caretaker
        self.events = consume events
        self.selection = selection
        self.delay = delay
    }

    /// Lets the hooks run; interfaces are taken up after that.
    func begin() { ask(.runHooks) }

    /// Leaves the network as it was, and waits for that.
    public func end() {
        if let caretaker = caretaker.take() { caretaker.end() }
    }

    /// Whether servers may be looked for: the hooks have run.
    var isReady: Bool { haveHooksRun }

    func register(in set: inout PollSet) {
        if let number = caretaker?.socket.number { set.add(number) }
        events.register(in: &set)
        set.limit(to: patience)
    }

    /// Takes up what is there by now.
    ///
    /// - Returns: whether something may be reachable now that was not.
    func advance(at now: BootTime) -> Bool {
        var hasChanged = takeAnswers(at: now)
        if events.haveCome() { hasChanged = true }
        guard haveHooksRun else { return false }
        if hasChanged { takeUpInterfaces() }
        if let patience, now >= patience {
            self.patience = nil
            hasChanged = true
        }
        if !isSettled, patience == nil || areAllRunning {
            isSettled = true
            ask(.settled)
        }
        return hasChanged
    }

    /// Has a route to a server added that is on the link, but in none of our prefixes.
    func addRoute(to address: SocketAddress, through interface: String) {
        ask(.addRoute(address: address.bytes, interface: interface))
    }

    /// Has the clock set to `time`, in milliseconds since 1970, unless it is later already.
    public func setClock(forwardTo time: Int64) { ask(.setClock(forwardTo: time)) }

    /// If it is gone, what is up already has to do.
    private func ask(_ request: NetworkRequest) {
        _ = try? caretaker?.socket.write(request.message)
    }

    private func takeAnswers(at now: BootTime) -> Bool {
        var hasAnswered = false
        var answer: [UInt8] = [0]
        while caretaker != nil {
            let transfer = try? caretaker?.socket.read(into: &answer)
            if transfer == .notReady { break }
            if transfer != .bytes(1) {
                report("the process that takes up interfaces has ended; going on with those that are up")
                end()
            }
            hasAnswered = true
            if !haveHooksRun, caretaker == nil || answer[0] == NetworkRequest.runHooks.number {
                haveHooksRun = true
                patience = now.after(milliseconds: delay)
            }
        }
        return hasAnswered
    }

    private func takeUpInterfaces() {
        for interface in NetworkInterface.all()
        where !interface.isUp && selection.takesUp(interface) && !taken.contains(interface.index) {
            taken.append(interface.index)
            ask(.takeUp(interface: interface.index))
        }
    }

    /// Whether there is an interface, and all run.
    private var areAllRunning: Bool {
        let used = NetworkInterface.all().filter { selection.uses($0) }
        return !used.isEmpty && used.allSatisfy { $0.isRunning }
    }
}
