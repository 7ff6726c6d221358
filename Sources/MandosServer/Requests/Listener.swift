import Glibc
import Logging
import MandosCore
import MandosFormats
public import MandosTLS
import NIOCore
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// Accepts connections, and starts a ``SecretRequest`` for each peer that completes the handshake.
public final class Listener: Service {
    private let socket: ListeningSocket
    private let registry: Registry
    private let priority: Priority
    private let credentials: Credentials
    private let log: Log
    private let strangers: StrangerLog
    private let unauthenticated: Mutex<UnauthenticatedConnections<any Channel>>

    /// `spareDescriptors` is how many more files this process may open.
    public init(
        socket: ListeningSocket, registry: Registry, priority: Priority, spareDescriptors: Int, log: Log
    ) throws(TLSError) {
        self.socket = socket
        self.registry = registry
        self.priority = priority
        self.credentials = try Credentials()
        // Created now: creation at the first use would stop the program if no descriptors were left by then.
        _ = MultiThreadedEventLoopGroup.singleton
        self.log = log
        strangers = StrangerLog(log)
        unauthenticated = Mutex(UnauthenticatedConnections(limits: .init(spareDescriptors: spareDescriptors)))
    }

    /// Serves until a graceful shutdown: then no connection is accepted, secrets that are being sent are completed, and
    /// requests that wait for approval end.
    public func run() async throws {
        let (connections, arrivals) = AsyncStream.makeStream(of: Connection.self)
        log[.server].info("serving", metadata: ["address": "\(socket.address)", "port": "\(socket.port)"])
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await self.strangers.run() }
            group.addTask {
                defer { arrivals.finish() }
                try await self.accept(into: arrivals)
            }
            for await connection in connections {
                group.addTask {
                    await withGracefulShutdownHandler {
                        await SecretRequest(
                            on: connection, to: self.registry, logger: self.log[.request], strangers: self.strangers
                        ).serve()
                    } onGracefulShutdown: {
                        connection.end(after: Self.timeToFinish)
                    }
                }
            }
        }
    }

    /// Accepts connections until a graceful shutdown.
    ///
    /// accept(2) can fail temporarily; NIO then gives the socket up, and this starts again with a new duplicate of it.
    private func accept(into arrivals: AsyncStream<Connection>.Continuation) async throws {
        while true {
            let server = try await bootstrap(arrivals).withBoundSocket(try socket.duplicate()).get()
            // NIO has called listen(2) again, with a backlog of 128 whatever its options say.
            socket.listenWithLongestBacklog()
            await withGracefulShutdownHandler {
                try? await server.closeFuture.get()
            } onGracefulShutdown: {
                server.close(promise: nil)
            }
            if Task.isShuttingDownGracefully { return }
            log[.server].error("the network failed; accepting connections again")
            try await Task.sleep(for: Self.pauseAfterFailure)
        }
    }

    /// How long a client has to take its secret once the server stops.
    private static let timeToFinish = TimeSpan(milliseconds: 500)

    private static let pauseAfterFailure = Duration.milliseconds(100)

    private func bootstrap(_ arrivals: AsyncStream<Connection>.Continuation) -> ServerBootstrap {
        ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { channel in
                // When descriptors or memory run out, accepting pauses.
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptBackoffHandler { _ in .milliseconds(50) }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            // A client that loses power while it waits for approval is noticed within a minute.
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 30)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
            // Greeting and handshake are small, and many idle connections should cost little.
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 2048))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.admit(channel, arrivals) }
            }
    }

    private func admit(_ channel: any Channel, _ arrivals: AsyncStream<Connection>.Continuation) throws {
        let address = PeerAddress.description(of: channel.remoteAddress)
        let source = PeerAddress.source(of: channel.remoteAddress)
        let presence = Connection.Presence()
        let (id, evicted) = unauthenticated.withLock { $0.admit(channel, from: source) }
        if let evicted {
            strangers.log(
                .tooManyConnections, from: source, "too many connections without a handshake: closing the oldest",
                metadata: ["peer.address": "\(address)"])
            evicted.close(promise: nil)
        }
        let handler = TLSHandler(priority: priority, credentials: credentials, limits: .init()) { [self] result in
            _ = unauthenticated.withLock { $0.remove(id) }
            switch result {
            case .success(let keyID):
                arrivals.yield(
                    Connection(keyID: keyID, address: address, source: source, channel: channel, presence: presence))
            case .failure(let failure):
                strangers.log(
                    .failedHandshake, from: source, "connection ended",
                    metadata: ["peer.address": "\(address)", "reason": "\(failure)"])
            }
        } peerLeft: { isTooSlow in
            presence.end(isTooSlow: isTooSlow)
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }
}
