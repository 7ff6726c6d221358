import Glibc
import Logging
import MandosBus
public import MandosCore
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
    /// Before connecting again to a bus that was lost.
    private static let pause = Duration.seconds(5)

    private let name: String
    private let port: UInt16
    /// -1 for all interfaces.
    private let interfaceIndex: Int32
    /// 0 for IPv4, 1 for IPv6, as in avahi-common/address.h.
    private let networkProtocol: Int32
    private let logger: Logger

    public init(_ settings: ServerSettings, port: UInt16, _ log: Log) {
        name = settings.serviceName
        self.port = port
        interfaceIndex = settings.interface.map { unsafe Int32(clamping: if_nametoindex($0)) } ?? -1
        networkProtocol = settings.useIPv6 ? 1 : 0
        logger = log[.zeroconf]
    }

    public func run() async {
        await cancelWhenGracefulShutdown {
            var isWarned = false
            while !Task.isCancelled {
                do {
                    // Abandonable: shutdown waits neither for a bus that never answers nor for a withdrawal. Avahi withdraws a
                    // connection's announcements when the connection ends.
                    try await abandonable {
                        let host = try await BusHost.open(name: nil)
                        await announce(on: host)
                        await host.close()
                    }
                    isWarned = false
                } catch {
                    if !isWarned && !Task.isCancelled { warn(error) }
                    isWarned = true
                }
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    /// Returns when the bus is lost or the task is cancelled.
    private func announce(on host: BusHost) async {
        let ownerChanged = MessageBusSignal.nameOwnerChanged
        do throws(BusError) {
            try await host.watch("type='signal',sender='\(AvahiAPI.busName)'")
            try await host.watch(
                "type='signal',sender='\(MessageBusSignal.interfaceName)',member='\(ownerChanged.rawValue)'"
                    + ",arg0='\(AvahiAPI.busName)'")
        } catch {
            return
        }
        var announcement = await publish(name, on: host)
        for await notice in host.signals {
            if MessageBusSignal(notice) == ownerChanged {
                if notice.arguments.last?.text?.isEmpty == false {
                    announcement = await publish(name, on: host)
                } else if announcement != nil {
                    announcement = nil
                    logger.warning("avahi-daemon is gone; announcing again when it is back")
                }
            } else if AvahiServerSignal(notice) == .stateChanged {
                if notice.state() == AvahiServerState.running && announcement == nil {
                    announcement = await publish(name, on: host)
                }
            } else if AvahiGroupSignal(notice) == .stateChanged, let current = announcement,
                current.groupPath == notice.path
            {
                announcement = await react(to: notice.state(), current, on: host)
            }
        }
    }

    private struct Announcement {
        /// The object path of Avahi's entry group.
        let groupPath: String
        let name: String
    }

    private func react(to state: AvahiGroupState?, _ current: Announcement, on host: BusHost) async -> Announcement? {
        switch state {
        case .established:
            logger.notice("announced", metadata: ["service.name": "\(current.name)", "port": "\(port)"])
            return current
        case .collision:
            await withdraw(current, on: host)
            return await publish(await nextName(after: current.name, on: host), on: host)
        case .failure:
            logger.error("avahi-daemon could not announce the server", metadata: ["service.name": "\(current.name)"])
            await withdraw(current, on: host)
            return nil
        case .uncommitted, .registering, nil: return current
        }
    }

    /// Asks Avahi to announce the server under `name`, or the first name after it that no server on this machine has.
    ///
    /// - Returns: nil if Avahi does not.
    private func publish(_ name: String, on host: BusHost) async -> Announcement? {
        do throws(BusError) {
            // If Avahi does not run yet, it sends a signal when it does.
            guard try await call(.getState, on: host)?.integer == AvahiServerState.running.rawValue else { return nil }
            let path = try await call(.entryGroupNew, on: host)?.text ?? ""
            var name = name
            for _ in 0..<Self.maximumRenames {
                do throws(BusError) {
                    _ = try await host.call(AvahiAPI.busName, path, AvahiGroupMethod.addService, service(name))
                    _ = try await host.call(AvahiAPI.busName, path, AvahiGroupMethod.commit)
                    return Announcement(groupPath: path, name: name)
                } catch {
                    guard error.name == AvahiAPI.collisionError else { throw error }
                    name = await nextName(after: name, on: host)
                }
            }
            logger.error("not announced: too many servers have this name", metadata: ["service.name": "\(name)"])
        } catch {
            warn(error)
        }
        return nil
    }

    private func call(
        _ method: AvahiServerMethod, _ arguments: [BusValue] = [], on host: BusHost
    ) async throws(BusError) -> BusValue? {
        try await host.call(AvahiAPI.busName, AvahiAPI.serverPath, method, arguments).first
    }

    private func warn(_ error: any Error) {
        logger.warning(
            "not announced: clients need --connect; is avahi-daemon running?", metadata: ["reason": "\(error)"])
    }

    /// The arguments of `AddService`: interface, protocol, flags, name, type, domain, host, port, TXT records.
    private func service(_ name: String) -> [BusValue] {
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
