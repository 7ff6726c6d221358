import MandosFormats
import POSIXKit

/// Does what only root may, in a process of its own, and undoes it when the process that asked for it is gone.
///
/// It hears nothing from the network, and does nothing but what ``NetworkRequest`` has; see docs/PRIVILEGES.md.
final class NetworkHelper {
    private let hooks: NetworkHooks
    private let isSetUID: Bool
    private let isVerbose: Bool
    private let isInOwnProcess: Bool
    private let complain: (String) -> Void

    private struct TakenUp {
        let index: UInt32
        let formerSettings: [FormerSetting]
    }

    private struct FormerSetting {
        let setting: InterfaceSetting
        let value: [UInt8]
    }

    /// A setting of the kernel's for one interface, which it has under the name that the interface has at the time.
    private enum InterfaceSetting {
        case optimisticDAD, useOptimistic, retransmissionTime

        func of(_ interface: NetworkInterface) -> KernelSetting {
            switch self {
            case .optimisticDAD: KernelSetting("net/ipv6/conf/" + interface.name + "/optimistic_dad")
            case .useOptimistic: KernelSetting("net/ipv6/conf/" + interface.name + "/use_optimistic")
            case .retransmissionTime: KernelSetting("net/ipv6/neigh/" + interface.name + "/retrans_time_ms")
            }
        }
    }

    private var haveHooksRun = false
    // What is to be undone.
    private var runHooks: [String] = []
    private var takenUp: [TakenUp] = []
    private var routes: [HostRoute] = []
    private var formerConsoleLevel: Int32?

    private static let mostRoutes = 64

    /// `isInOwnProcess` is false in tests only: then privileges are not given up.
    init(
        hooks: NetworkHooks, isSetUID: Bool, isVerbose: Bool, isInOwnProcess: Bool = true,
        complain: @escaping (String) -> Void
    ) {
        self.hooks = hooks
        self.isInOwnProcess = isInOwnProcess
        self.isSetUID = isSetUID
        self.isVerbose = isVerbose
        self.complain = complain
    }

    /// Serves until the other side of `socket` is gone, and then leaves the network as it was.
    func serve(_ socket: borrowing FileDescriptor) {
        // Not only in effect: a shell would give that up.
        if isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Hardening.become(user: 0, group: 0, isDroppingGroups: true) }
            Hardening.setPlainSurroundings()
        }
        var message = [UInt8](repeating: 0, count: NetworkRequest.longest)
        while true {
            guard case .bytes(let count)? = try? socket.read(into: &message) else { break }
            guard let request = NetworkRequest(message[..<count]) else { continue }
            perform(request, unlessGone: socket)
            try? socket.send(request.number)
        }
        cleanUp()
    }

    private func perform(_ request: NetworkRequest, unlessGone socket: borrowing FileDescriptor) {
        switch request {
        case .runHooks:
            guard !haveHooksRun else { return }
            haveHooksRun = true
            quietConsole()
            startHooks(unlessGone: socket)
        case .takeUp(let index):
            if let interface = NetworkInterface.with(index: index), !interface.isUp { takeUp(interface) }
        case .addRoute(let address, let interface):
            guard let address = SocketAddress(bytes: address, port: 0, interface: 0) else { return }
            addRoute(HostRoute(to: address, through: interface))
        case .setClock(let time):
            setClock(time)
        case .settled: restoreConsole()
        }
    }

    /// - Returns: whether it succeeded; why it did not is said.
    @discardableResult
    private func attempt(_ action: () throws(SystemError) -> Void) -> Bool {
        do throws(SystemError) {
            try action()
            return true
        } catch {
            complain("\(error)")
            return false
        }
    }

    // MARK: Hooks

    private func startHooks(unlessGone socket: borrowing FileDescriptor) {
        let hooks = hooks.installed(isSetUID: isSetUID, complain: complain)
        for hook in hooks {
            runHooks.append(hook)
            guard run(hook, .start, orUntil: socket.number) else { return }
        }
        if hooks.isEmpty, isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Capabilities.keepThoseForTheNetwork() }
        }
    }

    /// Runs one hook to its end.
    ///
    /// - Returns: false if `interruption`, a descriptor, was hung up before.
    @discardableResult
    private func run(_ hook: String, _ mode: NetworkHooks.Mode, orUntil interruption: Int32? = nil) -> Bool {
        let begin = BootTime.now()
        if isVerbose { complain("network hook \(hook) \(mode.text)") }
        let process: ChildProcess
        do throws(SystemError) {
            process = try hooks.begin(hook, mode)
        } catch {
            complain("network hook \(hook): \(error)")
            return true
        }
        let deadline = begin.after(milliseconds: hooks.timeLimit)
        while BootTime.now() < deadline {
            if let status = process.status() {
                if !status.isSuccess { complain("network hook \(hook) \(mode.text) failed with \(status)") }
                return true
            }
            var set = PollSet()
            set.add(process.descriptor)
            if let interruption { set.add(interruption, for: .hangUp) }
            set.limit(to: deadline)
            set.wait()
            if let interruption, set.isReady(interruption, for: .hangUp) {
                process.end()
                return false
            }
        }
        process.end()
        complain("network hook \(hook) \(mode.text) took longer than \(hooks.timeLimit / 1000) s, and was ended")
        return true
    }

    // MARK: Interfaces

    private func takeUp(_ interface: NetworkInterface) {
        let former = useAddressSoon(interface)
        guard attempt({ () throws(SystemError) in try interface.setUp(true) }) else {
            return restore(former, of: interface)
        }
        takenUp.append(TakenUp(index: interface.index, formerSettings: former))
        if isVerbose { complain("interface \(interface.name) taken up") }
    }

    /// Makes the kernel look for another owner of its link-local address quickly, and not for one to two seconds; the
    /// address may be used meanwhile. Somebody else on the link who has it answers within milliseconds.
    ///
    /// Source: RFC 4862 §5.4, RFC 4429.
    ///
    /// - Returns: what to set again later.
    private func useAddressSoon(_ interface: NetworkInterface) -> [FormerSetting] {
        let settings: [(InterfaceSetting, String)] = [
            // No random delay before.
            (.optimisticDAD, "1"), (.useOptimistic, "1"),
            // How long there may be no answer.
            (.retransmissionTime, "100"),
        ]
        var former: [FormerSetting] = []
        for (setting, value) in settings {
            let place = setting.of(interface)
            guard let old = place.value, (try? place.set(Array(value.utf8))) != nil else { continue }
            former.append(FormerSetting(setting: setting, value: old))
        }
        return former
    }

    private func restore(_ settings: [FormerSetting], of interface: NetworkInterface) {
        for former in settings { try? former.setting.of(interface).set(former.value) }
    }

    private func addRoute(_ route: HostRoute) {
        // What leads elsewhere already is not to be led astray by who announces it here.
        guard routes.count < Self.mostRoutes, route.address.isOrdinary, !route.address.hasRoute,
            (try? route.add()) != nil
        else { return }
        routes.append(route)
        if isVerbose { complain("route added through \(route.interface)") }
    }

    // MARK: The clock

    /// Only one that has lost the time altogether: it is before the time of our own program.
    private func setClock(_ time: Int64) {
        guard let built = try? timeOfChange("/proc/self/exe"), Clocks.wall < built else {
            return complain("the clock is left alone: it is not before the time of this program")
        }
        attempt { () throws(SystemError) in try Clocks.setWall(forwardTo: time) }
    }

    // MARK: The console

    private func quietConsole() {
        guard formerConsoleLevel == nil, let level = KernelConsole.level, level > KernelConsole.quiet else { return }
        if (try? KernelConsole.setLevel(KernelConsole.quiet)) != nil { formerConsoleLevel = level }
    }

    private func restoreConsole() {
        if let level = formerConsoleLevel { try? KernelConsole.setLevel(level) }
        formerConsoleLevel = nil
    }

    // MARK: The end

    private func cleanUp() {
        for route in routes { try? route.remove() }
        // What was built on something else goes first.
        for hook in runHooks.reversed() { run(hook, .stop) }
        for taken in takenUp.reversed() {
            // It may be gone, or be called something else now.
            guard let interface = NetworkInterface.with(index: taken.index) else { continue }
            attempt { () throws(SystemError) in try interface.setUp(false) }
            restore(taken.formerSettings, of: interface)
        }
        restoreConsole()
    }
}
