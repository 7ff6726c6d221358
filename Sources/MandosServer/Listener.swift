public import Logging
import MandosCore
import MandosFormats
public import MandosTLS
import NIOCore
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// Accepts connections and gives each client that proves its key what the registry decides.
public final class Listener: Service {
    private let socket: ListeningSocket
    private let registry: Registry
    private let priority: Priority
    private let credentials: Credentials
    private let logger: Logger
    private let unauthenticated = Mutex(UnauthenticatedConnections<any Channel>())

    /// Takes over `socket`.
    public init(socket: ListeningSocket, registry: Registry, priority: Priority, logger: Logger) throws(TLSError) {
        self.socket = socket
        self.registry = registry
        self.priority = priority
        self.credentials = try Credentials()
        self.logger = logger
    }

    /// Serves until a graceful shutdown: then nobody new is accepted, who is being sent a secret gets it, who waits
    /// for approval is let go.
    public func run() async throws {
        let (connections, arrivals) = AsyncStream.makeStream(of: Connection.self)
        let server = try await bootstrap(arrivals).withBoundSocket(socket.descriptor).get()
        logger.info("serving", metadata: ["address": "\(socket.address)", "port": "\(socket.port)"])
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                for await connection in connections {
                    group.addTask { await self.serve(connection) }
                }
            }
        } onGracefulShutdown: {
            server.close(promise: nil)
            arrivals.finish()
        }
    }

    /// One request, from the proof of the key to the end of the connection.
    private func serve(_ connection: Connection) async {
        let asked = registry.bootTime
        var log = logger
        log[metadataKey: "peer.address"] = "\(connection.address)"
        log[metadataKey: "key.id"] = "\(connection.keyID.map(String.init(describing:)) ?? "none")"
        do {
            while true {
                let answer = await registry.answer(to: connection.keyID, waitingSince: asked)
                if let name = answer.clientName { log[metadataKey: "client.name"] = "\(name)" }
                switch answer.decision {
                case .awaitApproval(let deadline):
                    log.debug("waiting for approval")
                    try await cancelWhenGracefulShutdown {
                        try await connection.wait(for: deadline - self.registry.bootTime)
                    }
                    continue
                case .refuse(let refusal):
                    log.warning("secret refused", metadata: ["reason": "\(refusal.rawValue)"])
                case .release(let secret):
                    try await connection.send(secret)
                    if let name = answer.clientName { await registry.secretWasSent(toClientNamed: name) }
                    log.info("secret sent", metadata: ["bytes": "\(secret.bytes.count)"])
                }
                break
            }
        } catch is Connection.PeerLeft {
            log.warning("secret not sent", metadata: ["reason": "the client left while it waited for approval"])
        } catch is CancellationError {
            log.warning("secret not sent", metadata: ["reason": "the server is stopping"])
        } catch {
            log.warning("secret not sent", metadata: ["reason": "\(error)"])
        }
        await connection.close()
    }

    private func bootstrap(_ arrivals: AsyncStream<Connection>.Continuation) -> ServerBootstrap {
        ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            // Greeting and handshake are small; many connections that say nothing should cost little.
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 2048))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.admit(channel, arrivals) }
            }
    }

    private func admit(_ channel: any Channel, _ arrivals: AsyncStream<Connection>.Continuation) throws {
        let address = PeerAddress.description(of: channel.remoteAddress)
        let (presence, departure) = AsyncStream.makeStream(of: Never.self)
        let (id, evicted) = unauthenticated.withLock {
            $0.admit(channel, from: PeerAddress.host(of: channel.remoteAddress))
        }
        if let evicted {
            logger.debug("too many connections without a handshake: ending the oldest")
            evicted.close(promise: nil)
        }
        let handler = TLSHandler(priority: priority, credentials: credentials, limits: .init()) { [self] result in
            _ = unauthenticated.withLock { $0.remove(id) }
            switch result {
            case .success(let keyID):
                arrivals.yield(Connection(keyID: keyID, address: address, channel: channel, presence: presence))
            case .failure(let failure):
                logger.debug("connection ended", metadata: ["peer.address": "\(address)", "reason": "\(failure)"])
            }
        } peerLeft: {
            departure.finish()
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }
}
