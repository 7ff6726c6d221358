import MandosFormats
import POSIXKit

/// Carries out ``NetworkRequest``s as root, in a process of its own, and undoes them when the process that made them is gone.
///
/// It reads nothing from the network; see docs/PRIVILEGES.md.
final class NetworkHelper {
    private let hooks: NetworkHooks
    private let isSetUID: Bool
    private let isVerbose: Bool
    private let isInOwnProcess: Bool
    private let complain: (String) -> Void

    /// A kernel setting of one interface. The kernel keeps it under the current name of the interface.
    private struct InterfaceSetting {
        let directory: StaticString
        let name: StaticString

        func of(_ interface: NetworkInterface) -> KernelSetting {
            KernelSetting("net/ipv6/" + directory.description + "/" + interface.name + "/" + name.description)
        }
    }

    private typealias FormerSetting = (setting: InterfaceSetting, value: [UInt8])

    private var haveHooksRun = false
    // Changes to undo.
    private var startedHooks: [String] = []
    private var interfaces: [(index: UInt32, formerSettings: [FormerSetting])] = []
    private var routes: [HostRoute] = []
    private var formerConsoleLevel: Int32?

    private static let maximumRoutes = 64

    /// `isInOwnProcess` is false only in tests: privileges are kept then.
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

    /// Serves until the other end of `socket` is closed, and then restores the network.
    func serve(_ socket: borrowing FileDescriptor) {
        // Not the effective user ID alone: a shell would give that up.
        if isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Hardening.become(user: 0, group: 0, isDroppingGroups: true) }
            Hardening.setPlainSurroundings()
        }
        var message = [UInt8](repeating: 0, count: NetworkRequest.maximumLength)
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
        case .bringUp(let index):
            if let interface = NetworkInterface.with(index: index), !interface.isUp { bringUp(interface) }
        case .addRoute(let address, let interface):
            guard let address = SocketAddress(bytes: address, port: 0, interface: 0) else { return }
            addRoute(HostRoute(address: address, interface: interface))
        case .setClock(let time): setClock(time)
        case .settled: restoreConsole()
        }
    }

    /// - Returns: whether the action succeeded; a failure is reported.
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
            startedHooks.append(hook)
            guard run(hook, .start, orUntil: socket.number) else { return }
        }
        if hooks.isEmpty, isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Capabilities.keepThoseForTheNetwork() }
        }
    }

    /// Runs one hook and waits for its end.
    ///
    /// - Returns: false if the other end of `interruption`, a descriptor, was closed before.
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

    private func bringUp(_ interface: NetworkInterface) {
        let former = shortenAddressDetection(interface)
        guard attempt({ () throws(SystemError) in try interface.setUp(true) }) else {
            return restore(former, of: interface)
        }
        interfaces.append((interface.index, former))
        if isVerbose { complain("interface \(interface.name) brought up") }
    }

    /// Makes the kernel detect a duplicate of the link-local address quickly, instead of within one to two seconds, and use
    /// the address meanwhile. A neighbour that has the same address answers within milliseconds.
    ///
    /// Source: RFC 4862 §5.4, RFC 4429.
    ///
    /// - Returns: the former settings, to restore later.
    private func shortenAddressDetection(_ interface: NetworkInterface) -> [FormerSetting] {
        let settings: [(InterfaceSetting, StaticString)] = [
            // No random delay before the first question.
            (InterfaceSetting(directory: "conf", name: "optimistic_dad"), "1"),
            (InterfaceSetting(directory: "conf", name: "use_optimistic"), "1"),
            // How long to wait for an answer.
            (InterfaceSetting(directory: "neigh", name: "retrans_time_ms"), "100"),
        ]
        var former: [FormerSetting] = []
        for (setting, value) in settings {
            let place = setting.of(interface)
            guard let old = place.value, (try? place.set(Array(value.description.utf8))) != nil else { continue }
            former.append((setting, old))
        }
        return former
    }

    private func restore(_ settings: [FormerSetting], of interface: NetworkInterface) {
        for (setting, value) in settings { try? setting.of(interface).set(value) }
    }

    private func addRoute(_ route: HostRoute) {
        // An announcement must not redirect traffic that has a route already.
        guard routes.count < Self.maximumRoutes, route.address.isOrdinary, !route.address.hasRoute,
            (try? route.add()) != nil
        else { return }
        routes.append(route)
        if isVerbose { complain("route added through \(route.interface)") }
    }

    // MARK: The clock

    /// Sets a clock that has lost the time altogether, which is then before the time of this program's file.
    private func setClock(_ time: Int64) {
        guard let built = try? timeOfChange("/proc/self/exe"), Clocks.wall < built else {
            return complain("the clock is not set: it is not before the time of this program")
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
        // In reverse order: a network may be built on an earlier one.
        for hook in startedHooks.reversed() { run(hook, .stop) }
        for (index, formerSettings) in interfaces.reversed() {
            // It may be gone, or have another name now.
            guard let interface = NetworkInterface.with(index: index) else { continue }
            attempt { () throws(SystemError) in try interface.setUp(false) }
            restore(formerSettings, of: interface)
        }
        restoreConsole()
    }
}
