import Glibc
import Logging
import MandosBus
public import MandosCore
public import ServiceLifecycle

/// Announces the server on the local network, through avahi-daemon, for as long as that runs.
///
/// Avahi may be absent, come late or restart, and so may the bus: the server serves all the same. If another one has its
/// name already, it takes the next one (`Mandos #2`).
/// Source: mandos(8), `servicename` and `zeroconf`; Avahi's D-Bus API.
public struct AvahiPublisher: Service {
    private static let avahi = "org.freedesktop.Avahi"
    private static let server = Interface("org.freedesktop.Avahi.Server")
    private static let group = Interface("org.freedesktop.Avahi.EntryGroup")
    private static let type = "_mandos._tcp"
    /// Beyond this many servers of one name something else is wrong.
    private static let mostRenames = 100
    /// Before the next try, if the bus is gone.
    private static let pause = Duration.seconds(5)

    /// The states of Avahi's entry groups and server that matter. Source: avahi-common/defs.h.
    private enum GroupState { static let (established, collision, failure): (Int64, Int64, Int64) = (2, 3, 4) }
    private enum ServerState { static let running: Int64 = 2 }

    private let name: String
    private let port: UInt16
    /// -1 for all.
    private let interfaceIndex: Int32
    /// As Avahi numbers them.
    private let networkProtocol: Int32
    private let logger: Logger

    public init(_ settings: ServerSettings, port: UInt16, _ log: Log) {
        name = settings.serviceName
        self.port = port
        interfaceIndex = settings.interface.map { unsafe Int32(clamping: if_nametoindex($0)) } ?? -1
        networkProtocol = settings.useIPv6 ? 1 : 0
        logger = log[.zeroconf]
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            var isWarned = false
            while !Task.isCancelled {
                do {
                    // A bus that takes us, and then says nothing, is not waited for at the end; nor is the goodbye: Avahi
                    // withdraws what a connection announced when that ends.
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

    /// Until the bus is lost, or the task is cancelled.
    private func announce(on host: BusHost) async {
        do throws(BusError) {
            try await host.watch("type='signal',sender='\(Self.avahi)'")
            try await host.watch(
                "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='\(Self.avahi)'")
        } catch {
            return
        }
        var announcement = await publish(name, on: host)
        for await notice in host.signals {
            let state = notice.arguments.first?.integer
            switch (notice.interface, notice.member) {
            case ("org.freedesktop.DBus", "NameOwnerChanged"):
                if notice.arguments.last?.text?.isEmpty == false {
                    announcement = await publish(name, on: host)
                } else if announcement != nil {
                    announcement = nil
                    logger.warning("avahi-daemon is gone; announcing again when it is back")
                }
            case (Self.server.name, "StateChanged") where state == ServerState.running && announcement == nil:
                announcement = await publish(name, on: host)
            case (Self.group.name, "StateChanged") where notice.path == announcement?.group:
                announcement = await react(to: state, announcement, on: host)
            default: break
            }
        }
    }

    private struct Announcement {
        /// Where Avahi has it.
        let group: String
        let name: String
    }

    private func react(to state: Int64?, _ announcement: Announcement?, on host: BusHost) async -> Announcement? {
        guard let announcement else { return nil }
        switch state {
        case GroupState.established:
            logger.notice("announced", metadata: ["service.name": "\(announcement.name)", "port": "\(port)"])
        case GroupState.collision:
            await withdraw(announcement, on: host)
            return await publish(await nextName(after: announcement.name, on: host), on: host)
        case GroupState.failure:
            logger.error(
                "avahi-daemon could not announce the server", metadata: ["service.name": "\(announcement.name)"])
            await withdraw(announcement, on: host)
            return nil
        default: break
        }
        return announcement
    }

    /// Asks Avahi to announce the server under `name`, or the first name after it that no server on this machine has.
    ///
    /// - Returns: nil if it does not.
    private func publish(_ name: String, on host: BusHost) async -> Announcement? {
        do throws(BusError) {
            let state = try await host.call(Self.avahi, "/", Self.server, "GetState").first?.integer
            // It says so when it runs.
            guard state == ServerState.running else { return nil }
            let path = try await host.call(Self.avahi, "/", Self.server, "EntryGroupNew").first?.text ?? ""
            var name = name
            for _ in 0..<Self.mostRenames {
                do throws(BusError) {
                    _ = try await host.call(Self.avahi, path, Self.group, "AddService", service(name))
                    _ = try await host.call(Self.avahi, path, Self.group, "Commit")
                    return Announcement(group: path, name: name)
                } catch {
                    guard error.name == "org.freedesktop.Avahi.CollisionError" else { throw error }
                    name = await nextName(after: name, on: host)
                }
            }
            logger.error("not announced: too many servers have this name", metadata: ["service.name": "\(name)"])
        } catch {
            warn(error)
        }
        return nil
    }

    private func warn(_ error: any Error) {
        logger.warning(
            "not announced: clients need --connect; is avahi-daemon running?", metadata: ["reason": "\(error)"])
    }

    /// Source: avahi's introspection of `AddService`.
    private func service(_ name: String) -> [BusValue] {
        [
            .int32(interfaceIndex), .int32(networkProtocol), .uint32(0), .string(name), .string(Self.type), .string(""),
            .string(""), .uint16(port), .array([], of: "ay"),
        ]
    }

    private func nextName(after name: String, on host: BusHost) async -> String {
        let answer = try? await host.call(Self.avahi, "/", Self.server, "GetAlternativeServiceName", [.string(name)])
        let next = answer?.first?.text ?? name + " #2"
        logger.notice("another server has this name", metadata: ["service.name": "\(name)", "next": "\(next)"])
        return next
    }

    private func withdraw(_ announcement: Announcement, on host: BusHost) async {
        // If it fails, there is nothing left of it anyway.
        _ = try? await host.call(Self.avahi, announcement.group, Self.group, "Free")
    }
}
