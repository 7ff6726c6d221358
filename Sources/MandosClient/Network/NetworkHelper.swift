import MandosFormats
import POSIXKit

/// Carries out ``NetworkRequest``s as root, in a process of its own, and undoes them when the process that made them ends or is
/// gone; in time, since the system that boots then has the network for itself.
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

    /// An interface that was brought up, and what it was before.
    private struct Change {
        let interface: UInt32
        let formerUse: InterfaceUse
        let formerSettings: [FormerSetting]
    }

    private var haveHooksRun = false
    /// When the system may boot on: nothing is touched after that. Nil as long as the client waits for us.
    private var deadline: BootTime?
    /// How long before the deadline hooks are ended, in milliseconds: interfaces are brought down after them.
    private static let timeForInterfaces: Int64 = 500
    /// The time between two signs of life while a hook runs, in milliseconds.
    private static let timeBetweenSigns: Int64 = 1000
    /// Reported failures to bring up interfaces, and their error numbers.
    private var reportedFailures: [(interface: UInt32, code: Int32)] = []
    // Changes to undo.
    private var startedHooks: [String] = []
    private var interfaces: [Change] = []
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

    /// Serves until the client asks to restore the network, or closes the other end of `socket`; then restores the network.
    func serve(_ socket: borrowing FileDescriptor) {
        // Not the effective user ID alone: a shell would give that up.
        if isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Hardening.become(user: 0, group: 0, isDroppingGroups: true) }
            Hardening.setPlainSurroundings()
        }
        // A process that a hook leaves behind, such as wpa_supplicant(8), is none of the client's.
        if isInOwnProcess { Orphans.adopt() }
        var message = [UInt8](repeating: 0, count: NetworkRequest.maximumLength)
        while true {
            guard case .bytes(let count)? = try? socket.read(into: &message) else {
                deadline = NetworkSetup.deadlineOfTheEnd()
                break
            }
            guard let request = NetworkRequest(message[..<count]) else { continue }
            if case .restore(let time) = request {
                limit(to: time)
                break
            }
            let answer = perform(request, unlessGone: socket)
            _ = try? socket.write(answer)
        }
        cleanUp(socket)
    }

    /// The client has closed its end of the socket: time is short from now on.
    private func clientHasGone(_ socket: borrowing FileDescriptor) {
        deadline = NetworkSetup.deadlineOfTheEnd()
        var message = [UInt8](repeating: 0, count: NetworkRequest.maximumLength)
        while case .bytes(let count)? = try? socket.read(into: &message) {
            if case .restore(let time)? = NetworkRequest(message[..<count]) { limit(to: time) }
        }
    }

    /// Sets the deadline; a client may shorten it only.
    private func limit(to time: Int64) {
        if time != .max { deadline = min(BootTime(milliseconds: max(time, 0)), NetworkSetup.deadlineOfTheEnd()) }
    }

    private var isTooLate: Bool { deadline.map { BootTime.now() >= $0 } ?? false }

    /// - Returns: the answer.
    private func perform(_ request: NetworkRequest, unlessGone socket: borrowing FileDescriptor) -> [UInt8] {
        switch request {
        case .runHooks:
            guard !haveHooksRun else { break }
            haveHooksRun = true
            quietConsole()
            startHooks(unlessGone: socket)
        case .bringUp(let index):
            guard let interface = NetworkInterface.with(index: index), !interface.isUp, !bringUp(interface) else {
                break
            }
            return request.message
        case .addRoute(let address, let interface):
            guard let address = SocketAddress(bytes: address, port: 0, interface: 0) else { break }
            addRoute(HostRoute(address: address, interface: interface))
        case .setClock(let time): setClock(time)
        case .settled: restoreConsole()
        case .restore: break
        }
        return [request.number]
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
            guard run(hook, .start, socket) else { return }
        }
        if hooks.isEmpty, isInOwnProcess, Hardening.isRoot {
            attempt { () throws(SystemError) in try Capabilities.keepThoseForTheNetwork() }
        }
    }

    /// Runs one hook and waits for its end.
    ///
    /// - Returns: false if the hook was ended because the client has gone: a hook that starts at once, one that stops shortly before
    ///   the deadline.
    private func run(_ hook: String, _ mode: NetworkHooks.Mode, _ socket: borrowing FileDescriptor) -> Bool {
        let begin = BootTime.now()
        let name = "network hook " + hook + " " + mode.text
        if isVerbose { complain(name) }
        let process: ChildProcess
        do throws(SystemError) {
            process = try hooks.begin(hook, mode)
        } catch {
            complain("network hook " + hook + ": " + error.description)
            return true
        }
        let limit = begin.after(milliseconds: hooks.timeLimit)
        while true {
            if let status = process.status() {
                if !status.isSuccess { complain(name + " failed with " + status.description) }
                return true
            }
            let end = deadline?.after(milliseconds: -Self.timeForInterfaces)
            if let end, BootTime.now() >= end {
                process.end()
                complain(name + " was ended: the system boots on")
                return false
            }
            if BootTime.now() >= limit { break }
            var set = PollSet()
            set.add(process.descriptor)
            if deadline == nil { set.add(socket.number, for: .hangUp) }
            _ = try? socket.write(NetworkRequest.signOfLife)
            set.limit(to: .now().after(milliseconds: Self.timeBetweenSigns))
            set.limit(to: limit)
            set.limit(to: end)
            set.wait()
            guard deadline == nil, set.isReady(socket.number, for: .hangUp) else { continue }
            if mode == .start {
                process.end()
                return false
            }
            clientHasGone(socket)
        }
        process.end()
        complain(name + " took longer than " + String(hooks.timeLimit / 1000) + " s, and was ended")
        return true
    }

    // MARK: Interfaces

    /// - Returns: whether the interface is up; a failure is reported once.
    private func bringUp(_ interface: NetworkInterface) -> Bool {
        let formerUse = (try? InterfaceUse.of(interface.index)) ?? InterfaceUse()
        let formerSettings = shortenAddressDetection(interface)
        do throws(SystemError) {
            try interface.setUp(true)
        } catch {
            restore(formerSettings, of: interface)
            if !reportedFailures.contains(where: { $0 == (interface.index, error.code) }) {
                reportedFailures.append((interface.index, error.code))
                complain(error.description + "; trying again")
            }
            return false
        }
        interfaces.append(
            Change(interface: interface.index, formerUse: formerUse, formerSettings: formerSettings))
        if isVerbose { complain("interface \(interface.name) brought up") }
        return true
    }

    /// Brings down an interface that was brought up, unless others use it by now.
    private func restore(_ change: Change) {
        var use: InterfaceUse?
        do throws(SystemError) {
            use = try InterfaceUse.of(change.interface)
        } catch {
            complain(error.description)
        }
        // It may be gone, or have another name now. Nothing that can take long may be between these checks and the act.
        guard let interface = NetworkInterface.with(index: change.interface), !isTooLate else { return }
        if let use, !use.hasGrown(since: change.formerUse) {
            attempt { () throws(SystemError) in try interface.setUp(false) }
        } else {
            complain("interface " + interface.name + " stays up: it is in use")
        }
        restore(change.formerSettings, of: interface)
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

    private func setClock(_ time: Int64) {
        let rule = ClockRule(
            clock: Clocks.wall, program: (try? timeOfChange("/proc/self/exe")) ?? 0, isInitramfs: isInitramfs(),
            hasGnuPG: DecryptionProgram.installed().contains { if case .gnuPG = $0 { true } else { false } })
        if let objection = rule.objection { return complain("the clock is not set: it is " + objection) }
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

    private func cleanUp(_ socket: borrowing FileDescriptor) {
        for route in routes where !isTooLate { try? route.remove() }
        // In reverse order: a network may be built on an earlier one.
        for hook in startedHooks.reversed() {
            guard !isTooLate, run(hook, .stop, socket) else { break }
        }
        for change in interfaces.reversed() { restore(change) }
        restoreConsole()
    }
}
