import MandosFormats
public import POSIXKit

/// Brings up the network through which servers are asked, and restores it at the end.
///
/// ``NetworkState`` decides what to do; ``NetworkHelper``, in a process of its own, does what needs root.
public final class NetworkSetup {
    /// Nil once it has ended.
    private var helper: PrivilegedHelper?
    private let events: NetworkEvents
    private var state: NetworkState
    private let report: (String) -> Void
    let selection: InterfaceSelection

    /// Starts the helper; requires a process that still has one thread, and its privileges.
    ///
    /// `delay` is how long interfaces may take to run, in milliseconds. `complain` is used in the helper too.
    public static func begin(
        _ selection: InterfaceSelection, hooks: NetworkHooks, delay: Int64, isVerbose: Bool,
        complain: @escaping (String) -> Void
    ) throws(SystemError) -> NetworkSetup {
        let isSetUID = Hardening.isSetUID
        let helper = try PrivilegedHelper.start(name: "mandos-network", keeping: [ExitStatus.standardError]) { socket in
            NetworkHelper(hooks: hooks, isSetUID: isSetUID, isVerbose: isVerbose, complain: complain).serve(socket)
        }
        try helper.socket.setNonBlocking()
        return NetworkSetup(helper, try NetworkEvents(), selection, delay, complain)
    }

    private init(
        _ helper: consuming PrivilegedHelper, _ events: consuming NetworkEvents, _ selection: InterfaceSelection,
        _ delay: Int64, _ report: @escaping (String) -> Void
    ) {
        self.report = report
        self.helper = consume helper
        self.events = consume events
        self.selection = selection
        state = NetworkState(selection: selection, delay: delay)
    }

    /// Starts the network hooks; interfaces are brought up after them.
    func begin() { ask(.runHooks) }

    /// Restores the network, and waits until that is done.
    public func end() {
        if let helper = helper.take() { helper.end() }
    }

    /// Whether servers may be asked: the hooks have run.
    var isReady: Bool { state.isReady }

    /// Until when interfaces may come up; nil before and after that.
    var deadline: BootTime? { state.deadline }

    func register(in set: inout PollSet) {
        if let number = helper?.socket.number { set.add(number) }
        events.register(in: &set)
        set.limit(to: deadline)
    }

    /// Brings up interfaces that have appeared.
    ///
    /// - Returns: whether servers that were out of reach may be reachable now.
    func advance(at now: BootTime) -> Bool {
        let hasAnswered = readAnswers(at: now)
        let hasChanged = events.haveCome() || hasAnswered
        var mayReachMore = false
        for action in state.advance(hasChanged: hasChanged, interfaces: NetworkInterface.all, at: now) {
            switch action {
            case .bringUp(let interface): ask(.bringUp(interface: interface))
            case .reportSettled: ask(.settled)
            case .retryServers: mayReachMore = true
            }
        }
        return mayReachMore
    }

    /// Has a route added to a server that is on the link, but in none of our prefixes.
    func addRoute(to address: SocketAddress, through interface: String) {
        ask(.addRoute(address: address.bytes, interface: interface))
    }

    /// Has the clock set to `time`, in milliseconds since 1970, unless it is later already.
    public func setClock(forwardTo time: Int64) { ask(.setClock(forwardTo: time)) }

    /// Sends a request. If the helper has ended, the network is used as it is.
    private func ask(_ request: NetworkRequest) {
        _ = try? helper?.socket.write(request.message)
    }

    /// - Returns: whether the helper has answered or ended.
    private func readAnswers(at now: BootTime) -> Bool {
        var hasAnswered = false
        var answer: [UInt8] = [0]
        while helper != nil {
            let transfer = try? helper?.socket.read(into: &answer)
            if transfer == .notReady { break }
            hasAnswered = true
            if transfer != .bytes(1) {
                report("the process that brings up interfaces has ended; going on with those that are up")
                end()
            }
            if helper == nil || answer[0] == NetworkRequest.runHooks.number { state.hooksEnded(at: now) }
        }
        return hasAnswered
    }
}
