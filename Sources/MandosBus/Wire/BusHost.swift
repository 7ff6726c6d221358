import Dispatch

/// A connection to the system bus for asynchronous code, optionally with a name, under which it serves method calls.
public actor BusHost {
    /// A method call to be answered by ``answer(_:_:)``.
    public struct Call: Sendable {
        public let notice: BusNotice
        fileprivate let id: UInt64
    }

    /// The limit of unanswered calls; further ones are answered with an error.
    private static let maximumCalls = 1024

    /// In bytes; dbus-daemon(1) disconnects a sender of more than 32 MiB, and the header counts too.
    private static let longestMessage = (32 << 20) - 4096

    /// The limit of received signals that were not read yet; the oldest are dropped.
    private static let maximumSignals = 1000
    /// The limit of unwritten messages; beyond it, signals are dropped.
    private static let longestQueue = 10_000

    private let executor: DispatchExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private var connection: BusConnection?
    private var readable: (any DispatchSourceRead)?
    private var writable: (any DispatchSourceWrite)?
    private var waiting: [UInt64: BusConnection.BusCall] = [:]
    private var nextID: UInt64 = 0
    private let received: AsyncStream<Call>.Continuation

    /// The method calls received; ends when the connection is lost.
    public nonisolated let calls: AsyncStream<Call>

    /// The signals that match a rule given to ``watch(_:)``; ends when the connection is lost.
    public nonisolated let signals: AsyncStream<BusNotice>
    private let heard: AsyncStream<BusNotice>.Continuation

    /// Connects to the system bus and takes `name`.
    ///
    /// A failure may take more than a minute, on a thread of its own.
    public static func open(name: String?) async throws(BusError) -> BusHost {
        let host = BusHost()
        try await host.open(name)
        return host
    }

    private init() {
        executor = DispatchExecutor(label: "mandos.bus")
        (calls, received) = AsyncStream.makeStream()
        (signals, heard) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.maximumSignals))
    }

    private func open(_ name: String?) throws(BusError) {
        let connection = try BusConnection.openSystem()
        if let name {
            try connection.serve { [unowned self] call in assumeIsolated { $0.receive(call) } }
            try connection.requestName(name)
        }
        self.connection = connection
        let source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor, queue: executor.queue)
        source.setEventHandler { [weak self] in self?.assumeIsolated { $0.process() } }
        // The descriptor is closed only when Dispatch no longer polls it.
        source.setCancelHandler { withExtendedLifetime(connection) {} }
        source.activate()
        readable = source
        process()
    }

    /// Disconnects.
    public func close() {
        readable?.cancel()
        writable?.cancel()
        (readable, writable) = (nil, nil)
        waiting = [:]
        connection = nil
        received.finish()
        heard.finish()
    }

    public func answer(_ call: Call, _ result: Result<[BusValue], BusError>) {
        guard let waiting = waiting.removeValue(forKey: call.id) else { return }
        var result = result
        if case .success(let values) = result, values.reduce(0, { $0 + $1.longestSize }) > Self.longestMessage {
            result = .failure(
                BusError(.limitsExceeded, "the answer is longer than the bus allows; ask for less at once"))
        }
        attempt { (connection) throws(BusError) in
            do throws(BusError) {
                try connection.answer(waiting, result)
            } catch {
                try connection.answer(waiting, .failure(error))
            }
        }
    }

    /// Sends signals; drops them while the bus does not read.
    public func emit(_ signals: [BusSignal]) {
        if let connection, connection.queueLength > Self.longestQueue { return }
        for signal in signals { attempt { (connection) throws(BusError) in try connection.emit(signal) } }
    }

    /// Ignores errors: a malformed message is not sent, and ``process()`` detects a lost connection.
    private func attempt(_ body: (BusConnection) throws(BusError) -> Void) {
        guard let connection else { return }
        try? body(connection)
        flush(connection)
    }

    /// Calls a method of another program. Everything else on this connection waits for the answer, a few seconds at most.
    public func call(
        _ destination: String, _ path: String, _ method: some BusMethod, _ arguments: [BusValue] = []
    ) throws(BusError) -> [BusValue] {
        guard let connection else { throw BusError(.failed, "the connection to the bus is lost") }
        // Messages that arrived meanwhile were read already: the descriptor will not become readable for them.
        defer { process() }
        return try connection.call(destination, path, method, arguments, timeLimit: Self.answerTimeLimit)
    }

    /// In microseconds.
    private static let answerTimeLimit: UInt64 = 5_000_000

    /// Adds the signals that `rule` matches to ``signals``. Source: D-Bus specification, "Match Rules".
    public func watch(_ rule: String) throws(BusError) {
        guard let connection else { throw BusError(.failed, "the connection to the bus is lost") }
        defer { process() }
        let heard = heard
        try connection.watch(rule) { heard.yield($0) }
    }

    private func receive(_ call: BusConnection.BusCall) {
        guard waiting.count < Self.maximumCalls else {
            let error = BusError(.failed, "\(Self.maximumCalls) calls are waiting already; try again later")
            try? connection?.answer(call, .failure(error))
            return
        }
        nextID += 1
        waiting[nextID] = call
        received.yield(Call(notice: call.notice, id: nextID))
    }

    private func process() {
        guard let connection else { return }
        do throws(BusError) {
            while try connection.process() {}
            flush(connection)
        } catch {
            close()
        }
    }

    /// Waits to write the rest if sd-bus could not write everything at once.
    private func flush(_ connection: BusConnection) {
        guard connection.hasOutput else {
            writable?.cancel()
            writable = nil
            return
        }
        guard writable == nil else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: connection.descriptor, queue: executor.queue)
        source.setEventHandler { [weak self] in self?.assumeIsolated { $0.process() } }
        source.setCancelHandler { withExtendedLifetime(connection) {} }
        source.activate()
        writable = source
    }
}
