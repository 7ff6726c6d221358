import Dispatch

/// A server's place on the system bus, under a name of its own if it has one.
public actor BusHost {
    /// A method call, and what to answer it by.
    public struct Call: Sendable {
        public let notice: BusNotice
        fileprivate let id: UInt64
    }

    /// How many calls may wait for their answers; who calls more at once is told so.
    private static let mostCalls = 1024

    /// In bytes; dbus-daemon(1) disconnects whoever sends more than 32 MiB, and a header has to fit too.
    private static let longestMessage = (32 << 20) - 4096

    /// How many signals may wait to be looked at; older ones go.
    private static let mostSignals = 1000
    /// How many messages may wait to be written before signals are lost.
    private static let longestQueue = 10_000

    private let executor: DispatchExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private var connection: BusConnection?
    private var readable: (any DispatchSourceRead)?
    private var writable: (any DispatchSourceWrite)?
    private var waiting: [UInt64: BusConnection.BusCall] = [:]
    private var nextID: UInt64 = 0
    private let received: AsyncStream<Call>.Continuation

    /// The calls as they come; they end when the bus is lost.
    public nonisolated let calls: AsyncStream<Call>

    /// The signals that it watches for; they end when the bus is lost.
    public nonisolated let signals: AsyncStream<BusNotice>
    private let heard: AsyncStream<BusNotice>.Continuation

    /// Connects to the system bus and takes `name` there.
    ///
    /// It may take a minute and more to fail, on a thread of its own.
    public static func open(name: String?) async throws(BusError) -> BusHost {
        let host = BusHost()
        try await host.open(name)
        return host
    }

    private init() {
        executor = DispatchExecutor(label: "mandos.bus")
        (calls, received) = AsyncStream.makeStream()
        (signals, heard) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.mostSignals))
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
        // The descriptor is closed only when nothing looks at it any more.
        source.setCancelHandler { withExtendedLifetime(connection) {} }
        source.activate()
        readable = source
        process()
    }

    /// Leaves the bus.
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

    /// While the bus takes nothing, signals are lost.
    public func emit(_ signals: [BusSignal]) {
        if let connection, connection.queueLength > Self.longestQueue { return }
        for signal in signals { attempt { (connection) throws(BusError) in try connection.emit(signal) } }
    }

    /// What cannot be sent, because it is malformed, is not sent; a bus that is gone is noticed elsewhere.
    private func attempt(_ body: (BusConnection) throws(BusError) -> Void) {
        guard let connection else { return }
        try? body(connection)
        flush(connection)
    }

    /// Calls another program's method. All else on this connection waits meanwhile, for a few seconds at the most.
    public func call(
        _ destination: String, _ path: String, _ interface: Interface, _ member: String, _ arguments: [BusValue] = []
    ) throws(BusError) -> [BusValue] {
        guard let connection else { throw BusError(.failed, "the bus is gone") }
        // What else came meanwhile was read already, and nothing will say so.
        defer { process() }
        return try connection.call(destination, path, interface.name, member, arguments, within: Self.answerTime)
    }

    /// In microseconds.
    private static let answerTime: UInt64 = 5_000_000

    /// From now on ``signals`` has those that `rule` matches too. Source: D-Bus specification, "Match Rules".
    public func watch(_ rule: String) throws(BusError) {
        guard let connection else { throw BusError(.failed, "the bus is gone") }
        defer { process() }
        let heard = heard
        try connection.watch(rule) { heard.yield($0) }
    }

    private func receive(_ call: BusConnection.BusCall) {
        guard waiting.count < Self.mostCalls else {
            let error = BusError(.failed, "\(Self.mostCalls) calls are waiting already; try again later")
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

    /// sd-bus writes what it can at once; the rest when the bus takes more.
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
