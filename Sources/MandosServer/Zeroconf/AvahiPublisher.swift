import Glibc
import Logging
import MandosBus
public import MandosCore
import MandosFormats
public import ServiceLifecycle

/// Announces the server on the local network through avahi-daemon if it is running.
///
/// Avahi and the bus may be absent, start late or restart: the server works without them. If another server has the name
/// already, this one takes the next name (`Mandos #2`).
/// Source: mandos(8), `servicename` and `zeroconf`; Avahi's D-Bus API.
public struct AvahiPublisher: Service {
    private static let serviceType = "_mandos._tcp"
    /// More servers of one name than this mean that something else is wrong.
    private static let maximumRenames = 100
    /// Before trying again, in milliseconds.
    private static let firstPause: Int64 = 5000
    private static let longestPause: Int64 = 60_000

    private let name: String
    private let port: UInt16
    /// nil for all interfaces.
    private let interface: String?
    /// 0 for IPv4, 1 for IPv6, as in avahi-common/address.h.
    private let networkProtocol: Int32
    private let logger: Logger

    public init(_ settings: ServerSettings, port: UInt16, _ log: Log) {
        name = settings.serviceName
        self.port = port
        interface = settings.interface
        networkProtocol = settings.useIPv6 ? 1 : 0
        logger = log[.zeroconf]
    }

    public func run() async {
        await cancelWhenGracefulShutdown {
            var lastProblem: String?
            var pauses = Backoff(first: Self.firstPause, longest: Self.longestPause, most: .max)
            while !Task.isCancelled {
                let begin = ContinuousClock.now
                do {
                    // Abandonable: shutdown waits neither for a bus that never answers nor for a withdrawal. Avahi withdraws a
                    // connection's announcements when the connection ends.
                    try await abandonable {
                        let host = try await BusHost.open(name: nil)
                        do {
                            try await announce(on: host)
                        } catch {
                            // Frees what Avahi keeps for this connection.
                            await host.close()
                            throw error
                        }
                        await host.close()
                    }
                    lastProblem = nil
                } catch {
                    // It worked for a while: this is a new problem.
                    if ContinuousClock.now - begin > .milliseconds(Self.longestPause) {
                        lastProblem = nil
                        pauses.reset()
                    }
                    // Each problem is logged once, not at every try.
                    if lastProblem != "\(error)" && !Task.isCancelled { warn(error) }
                    lastProblem = "\(error)"
                }
                try? await Task.sleep(for: .milliseconds(pauses.next() ?? Self.longestPause))
            }
        }
    }

    /// Why Avahi does not announce the server at the moment.
    private enum Failure: Error, CustomStringConvertible {
        case noInterface(String)
        case refused(name: String)
        case tooManyServers(name: String)

        var description: String {
            switch self {
            case .noInterface(let name): "there is no interface \(name)"
            case .refused(let name): "avahi-daemon could not announce the name \(name)"
            case .tooManyServers(let name): "too many servers have the name \(name)"
            }
        }
    }

    /// Returns when the bus is lost or the task is cancelled.
    ///
    /// - Throws: if it should be tried again later, with a new connection.
    private func announce(on host: BusHost) async throws {
        let ownerChanged = MessageBusSignal.nameOwnerChanged
        do throws(BusError) {
            try await host.watch("type='signal',sender='\(AvahiAPI.busName)'")
            try await host.watch(
                "type='signal',sender='\(MessageBusSignal.interfaceName)',member='\(ownerChanged.rawValue)'"
                    + ",arg0='\(AvahiAPI.busName)'")
        } catch {
            return
        }
        var announcement = try await publish(name, on: host)
        for await notice in host.signals {
            if MessageBusSignal(notice) == ownerChanged {
                if notice.arguments.last?.text?.isEmpty == false {
                    announcement = try await publish(name, on: host)
                } else if announcement != nil {
                    announcement = nil
                    logger.warning("avahi-daemon is gone; announcing again when it is back")
                }
            } else if AvahiServerSignal(notice) == .stateChanged {
                if notice.state() == AvahiServerState.running && announcement == nil {
                    announcement = try await publish(name, on: host)
                }
            } else if AvahiGroupSignal(notice) == .stateChanged, let current = announcement,
                current.groupPath == notice.path
            {
                announcement = try await react(to: notice.state(), current, on: host)
            }
        }
    }

    private struct Announcement {
        /// The object path of Avahi's entry group.
        let groupPath: String
        let name: String
    }

    private func react(
        to state: AvahiGroupState?, _ current: Announcement, on host: BusHost
    ) async throws -> Announcement? {
        switch state {
        case .established:
            logger.notice("announced", metadata: ["service.name": "\(current.name)", "port": "\(port)"])
            return current
        case .collision:
            await withdraw(current, on: host)
            return try await publish(await nextName(after: current.name, on: host), on: host)
        case .failure: throw Failure.refused(name: current.name)
        case .uncommitted, .registering, nil: return current
        }
    }

    /// Asks Avahi to announce the server under `name`, or the first name after it that no server on this machine has.
    ///
    /// - Returns: nil if Avahi does not run yet: there will be a signal when it does.
    private func publish(_ name: String, on host: BusHost) async throws -> Announcement? {
        do throws(BusError) {
            guard try await call(.getState, on: host)?.integer == AvahiServerState.running.rawValue else { return nil }
        } catch {
            guard error.isNameWithoutOwner else { throw error }
            warn(error)
            return nil
        }
        let interfaceIndex = try interfaceIndex
        let path = try await call(.entryGroupNew, on: host)?.text ?? ""
        var name = name
        for _ in 0..<Self.maximumRenames {
            do throws(BusError) {
                _ = try await host.call(
                    AvahiAPI.busName, path, AvahiGroupMethod.addService, service(name, interfaceIndex))
                _ = try await host.call(AvahiAPI.busName, path, AvahiGroupMethod.commit)
                return Announcement(groupPath: path, name: name)
            } catch {
                guard error.name == AvahiAPI.collisionError else { throw error }
                name = await nextName(after: name, on: host)
            }
        }
        throw Failure.tooManyServers(name: name)
    }

    /// -1 for all interfaces, as in avahi-common/address.h. Looked up each time: an interface that comes again has a new one.
    private var interfaceIndex: Int32 {
        get throws(Failure) {
            guard let interface else { return -1 }
            let index = unsafe if_nametoindex(interface)
            guard index > 0 else { throw .noInterface(interface) }
            return Int32(clamping: index)
        }
    }

    private func call(
        _ method: AvahiServerMethod, _ arguments: [BusValue] = [], on host: BusHost
    ) async throws(BusError) -> BusValue? {
        try await host.call(AvahiAPI.busName, AvahiAPI.serverPath, method, arguments).first
    }

    private func warn(_ error: any Error) {
        logger.warning(
            "not announced: clients need --connect; is avahi-daemon running? trying again",
            metadata: ["reason": "\(error)"])
    }

    /// The arguments of `AddService`: interface, protocol, flags, name, type, domain, host, port, TXT records.
    private func service(_ name: String, _ interfaceIndex: Int32) -> [BusValue] {
        [
            .int32(interfaceIndex), .int32(networkProtocol), .uint32(0), .string(name), .string(Self.serviceType),
            .string(""), .string(""), .uint16(port), .array([], of: "ay"),
        ]
    }

    private func nextName(after name: String, on host: BusHost) async -> String {
        let answer = try? await call(.getAlternativeServiceName, [.string(name)], on: host)
        let next = answer?.text ?? name + " #2"
        logger.notice("another server has this name", metadata: ["service.name": "\(name)", "next": "\(next)"])
        return next
    }

    private func withdraw(_ announcement: Announcement, on host: BusHost) async {
        // If the call fails, Avahi has no entry group of ours any more.
        _ = try? await host.call(AvahiAPI.busName, announcement.groupPath, AvahiGroupMethod.free)
    }
}
