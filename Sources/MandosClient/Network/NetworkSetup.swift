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
    /// Requests that the helper's queue had no room for.
    private var waiting: ArraySlice<[UInt8]> = []
    /// When the helper counts as stuck if it gives no sign of life.
    private var silenceEnd = BootTime.now().after(milliseconds: longestSilence)
    let selection: InterfaceSelection

    /// Starts the helper; requires a process that still has one thread, and its privileges.
    ///
    /// `delay` is how long interfaces may take to run, in milliseconds. `complain` is used in the helper too, and `finally` there
    /// only, after everything else.
    public static func begin(
        _ selection: InterfaceSelection, hooks: NetworkHooks, delay: Int64, isVerbose: Bool,
        complain: @escaping (String) -> Void, finally: () -> Void = {}
    ) throws(SystemError) -> NetworkSetup {
        let isSetUID = Hardening.isSetUID
        let helper = try PrivilegedHelper.start(name: "mandos-network", keeping: [ExitStatus.standardError]) { socket in
            NetworkHelper(hooks: hooks, isSetUID: isSetUID, isVerbose: isVerbose, complain: complain).serve(socket)
            finally()
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
    func begin() {
        if !SocketAddress.hasIPv6 { report("this machine has no IPv6: only servers with an IPv4 address are asked") }
        silenceEnd = .now().after(milliseconds: Self.longestSilence)
        ask(.runHooks)
    }

    /// How long the network may take to be restored once the client is told to end, in milliseconds: less than the 5 s that
    /// plugin-runner waits for its plugins after a password, before the system boots on.
    private static let timeToEnd: Int64 = 4500

    /// When the restoration must be over if the client is told to end now.
    static func deadlineOfTheEnd() -> BootTime { .now().after(milliseconds: timeToEnd) }

    /// How long the helper may be silent before it counts as stuck, in milliseconds: it gives a sign of life every second.
    static let longestSilence: Int64 = 30_000
    /// How much later than its deadline the helper may end, in milliseconds.
    private static let patience: Int64 = 500

    /// Restores the network, and waits until that is done: in a limited time if the client has been told to end, or when a signal
    /// tells it; in any case only as long as the helper gives signs of life. It is root's, so that nobody can end it by force.
    public func end(hasBeenTold: Bool, until stop: borrowing StopSignals) {
        guard let helper = helper.take() else { return }
        var isHurried = hasBeenTold
        var isAsked = false
        var answer = [UInt8](repeating: 0, count: NetworkRequest.maximumLength)
        var silenceEnd = BootTime.now().after(milliseconds: Self.longestSilence)
        while !isHurried, !isReadable(helper.descriptor), BootTime.now() < silenceEnd {
            // There may be no room for the request yet; and no room for the answers to former ones, until they are read.
            if !isAsked { isAsked = (try? helper.socket.write(NetworkRequest.restore(by: .max).message)) != .notReady }
            while case .bytes? = try? helper.socket.read(into: &answer) {
                silenceEnd = .now().after(milliseconds: Self.longestSilence)
            }
            var set = PollSet()
            set.add(helper.descriptor)
            set.add(helper.socket.number, for: isAsked ? .reading : .both)
            stop.register(in: &set)
            set.limit(to: silenceEnd)
            set.wait()
            isHurried = stop.next() != nil
        }
        let deadline = Self.deadlineOfTheEnd()
        if isHurried { _ = try? helper.socket.write(NetworkRequest.restore(by: deadline.milliseconds).message) }
        let last = isHurried ? deadline.after(milliseconds: Self.patience) : .now().after(milliseconds: Self.patience)
        reportEnd(helper.end(by: last))
    }

    /// Tells what stays as it is if the helper has not restored it. `status` is how it has ended; nil if it has not.
    private func reportEnd(_ status: TerminationStatus?) {
        if status?.isSuccess ?? false { return }
        let up = NetworkInterface.all().filter { $0.isUp && selection.bringsUp($0) }.map { $0.name }
        report(
            "the process that restores the network " + (status.map { "has ended with \($0)" } ?? "does not answer")
                + "; what it has brought up stays up: " + up.joined(separator: ", "))
    }

    /// Whether servers may be asked: the hooks have run.
    var isReady: Bool { state.isReady }

    /// Until when interfaces may come up; nil before and after that.
    var deadline: BootTime? { state.deadline }

    func register(in set: inout PollSet) {
        if let number = helper?.socket.number { set.add(number, for: waiting.isEmpty ? .reading : .both) }
        events.register(in: &set)
        set.limit(to: deadline)
        set.limit(to: state.nextStart)
        if !isReady { set.limit(to: silenceEnd) }
    }

    /// Brings up interfaces that have appeared.
    ///
    /// - Returns: whether servers that were out of reach may be reachable now.
    func advance(at now: BootTime) -> Bool {
        sendWaiting()
        let hasAnswered = readAnswers(at: now)
        if !isReady, now >= silenceEnd {
            report("the process that brings up interfaces does not answer; going on with those that are up")
            state.hooksEnded(at: now)
        }
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

    /// How many requests may wait for room in the helper's queue: one for each of thousands of interfaces.
    private static let maximumWaiting = 10_000

    /// Sends a request. If the helper has ended, the network is used as it is.
    private func ask(_ request: NetworkRequest) {
        guard waiting.count < Self.maximumWaiting else { return }
        waiting.append(request.message)
        sendWaiting()
    }

    private func sendWaiting() {
        while let message = waiting.first {
            if (try? helper?.socket.write(message)) == .notReady { return }
            waiting.removeFirst()
        }
    }

    /// - Returns: whether the helper has answered or ended.
    private func readAnswers(at now: BootTime) -> Bool {
        var hasAnswered = false
        var answer = [UInt8](repeating: 0, count: NetworkRequest.maximumLength)
        while helper != nil {
            let transfer = try? helper?.socket.read(into: &answer)
            if transfer == .notReady { break }
            hasAnswered = true
            silenceEnd = now.after(milliseconds: Self.longestSilence)
            guard case .bytes(let count)? = transfer else {
                report(
                    "the process that brings up interfaces has ended; going on with those that are up, which stay up")
                if let helper = helper.take() { helper.end() }
                state.hooksEnded(at: now)
                break
            }
            if answer[0] == NetworkRequest.runHooks.number { state.hooksEnded(at: now) }
            // The request itself: it could not be carried out.
            if case .bringUp(let interface)? = NetworkRequest(answer[..<count]) {
                state.startFailed(interface, at: now)
            }
        }
        return hasAnswered
    }
}
