import CSDBus
import Glibc

/// A method call or a signal that was received.
public struct BusNotice: Sendable {
    public let path: String
    public let interface: String
    public let member: String
    /// The unique name of the sender.
    public let sender: String
    public let arguments: [BusValue]
}

/// A signal to send.
public struct BusSignal: Sendable {
    let path: String
    let interface: String
    let member: String
    let arguments: [BusValue]

    public init<Name: BusSignalName>(_ path: String, _ name: Name, _ arguments: [BusValue] = []) {
        self.path = path
        interface = Name.interfaceName
        member = name.rawValue
        self.arguments = arguments
    }
}

/// A connection to the system bus, for one thread.
///
/// Source: sd-bus(3).
@safe public final class BusConnection: @unchecked Sendable {  // confined to one thread by its owner
    private let handle: OpaquePointer
    private var onCall: ((BusCall) -> Void)?
    private var onSignal: ((BusNotice) -> Void)?

    /// A method call that has not been answered yet.
    final class BusCall: @unchecked Sendable {  // touched by the thread of its connection only
        let notice: BusNotice
        fileprivate let message: BusMessage

        fileprivate init(_ notice: BusNotice, _ message: BusMessage) {
            self.notice = notice
            self.message = message
        }
    }

    /// The usual limit on D-Bus for the time until an answer, in microseconds.
    public static let answerTimeLimit: UInt64 = 25_000_000

    /// Connects to the system bus; `DBUS_SYSTEM_BUS_ADDRESS` may give its address.
    public static func openSystem() throws(BusError) -> BusConnection {
        var handle: OpaquePointer?
        try unsafe BusError.check("connecting to the system bus", sd_bus_open_system(&handle))
        guard let handle = unsafe handle else { preconditionFailure("sd-bus reported success without a connection") }
        return unsafe BusConnection(owning: handle)
    }

    private init(owning handle: OpaquePointer) { unsafe self.handle = handle }

    // Does not wait for a bus that does not read.
    deinit { unsafe sd_bus_close_unref(handle) }

    // MARK: Calling

    /// Calls a method of another program and waits for the answer, `timeLimit` microseconds at most.
    public func call<Method: BusMethod>(
        _ destination: String, _ path: String, _ method: Method, _ arguments: [BusValue] = [],
        timeLimit: UInt64 = answerTimeLimit
    ) throws(BusError) -> [BusValue] {
        let member = method.rawValue
        var raw: OpaquePointer?
        try unsafe BusError.check(
            "calling \(member)",
            sd_bus_message_new_method_call(handle, &raw, destination, path, Method.interfaceName, member))
        let message = try unsafe owned(raw)
        try message.append(arguments)
        var error = unsafe csdbus_no_error()
        defer { unsafe sd_bus_error_free(&error) }
        var answer: OpaquePointer?
        let result = unsafe sd_bus_call(handle, message.handle, timeLimit, &error, &answer)
        if result < 0, let name = unsafe error.name {
            throw BusError(
                name: unsafe String(cString: name),
                message: unsafe error.message.map { unsafe String(cString: $0) } ?? "no reason given")
        }
        try BusError.check("calling \(member)", result)
        return try unsafe owned(answer).read()
    }

    private func owned(_ message: OpaquePointer?) throws(BusError) -> BusMessage {
        guard let message = unsafe message else { throw BusError(.failed, "sd-bus gave no message") }
        return unsafe BusMessage(owning: message)
    }

    // MARK: Serving

    /// Takes a name on the bus, which no other program may have.
    func requestName(_ name: String) throws(BusError) {
        try unsafe BusError.check("taking the name \(name) on the bus", sd_bus_request_name(handle, name, 0))
    }

    /// Has `handler` called with each method call to any object of ours. `handler` is responsible for the answer.
    func serve(_ handler: @escaping (BusCall) -> Void) throws(BusError) {
        onCall = handler
        let userData = unsafe Unmanaged.passUnretained(self).toOpaque()
        try unsafe BusError.check(
            "serving objects",
            sd_bus_add_fallback(
                handle, nil, "/",
                { message, userData, _ in
                    guard let message = unsafe message, let userData = unsafe userData else { return 0 }
                    // process(), a method of the connection, runs at this moment.
                    let connection = unsafe Unmanaged<BusConnection>.fromOpaque(userData).takeUnretainedValue()
                    return unsafe connection.received(call: message)
                }, userData))
    }

    private func received(call handle: OpaquePointer) -> Int32 {
        let message = unsafe BusMessage(sharing: handle)
        guard let onCall, let arguments = try? message.read() else { return 0 }
        onCall(BusCall(notice(message, arguments), message))
        return 1
    }

    private func notice(_ message: BusMessage, _ arguments: [BusValue]) -> BusNotice {
        BusNotice(
            path: message.path, interface: message.interface, member: message.member, sender: message.sender,
            arguments: arguments)
    }

    func answer(_ call: BusCall, _ result: Result<[BusValue], BusError>) throws(BusError) {
        var raw: OpaquePointer?
        switch result {
        case .success(let values):
            try unsafe BusError.check("answering", sd_bus_message_new_method_return(call.message.handle, &raw))
            let message = try unsafe owned(raw)
            try message.append(values)
            try unsafe BusError.check("answering", sd_bus_send(handle, message.handle, nil))
        case .failure(let failure):
            var error = unsafe csdbus_no_error()
            defer { unsafe sd_bus_error_free(&error) }
            _ = unsafe sd_bus_error_set(&error, failure.name, failure.message)
            try unsafe BusError.check("answering", sd_bus_reply_method_error(call.message.handle, &error))
        }
    }

    func emit(_ signal: BusSignal) throws(BusError) {
        var raw: OpaquePointer?
        try unsafe BusError.check(
            "sending \(signal.member)",
            sd_bus_message_new_signal(handle, &raw, signal.path, signal.interface, signal.member))
        let message = try unsafe owned(raw)
        try message.append(signal.arguments)
        try unsafe BusError.check("sending \(signal.member)", sd_bus_send(handle, message.handle, nil))
    }

    // MARK: Receiving signals

    /// Has `handler` called with each signal that `rule` matches. Source: D-Bus specification, "Match Rules".
    public func watch(_ rule: String, _ handler: @escaping (BusNotice) -> Void) throws(BusError) {
        onSignal = handler
        let userData = unsafe Unmanaged.passUnretained(self).toOpaque()
        try unsafe BusError.check(
            "listening on the bus",
            sd_bus_add_match(
                handle, nil, rule,
                { message, userData, _ in
                    guard let message = unsafe message, let userData = unsafe userData else { return 0 }
                    let connection = unsafe Unmanaged<BusConnection>.fromOpaque(userData).takeUnretainedValue()
                    connection.received(signal: unsafe BusMessage(sharing: message))
                    return 0
                }, userData))
    }

    private func received(signal message: BusMessage) {
        guard let onSignal, let arguments = try? message.read() else { return }
        onSignal(notice(message, arguments))
    }

    // MARK: Progress

    /// Processes one message, or one other pending step.
    ///
    /// - Returns: false if nothing was pending.
    public func process() throws(BusError) -> Bool {
        try unsafe BusError.check("talking to the bus", sd_bus_process(handle, nil)) > 0
    }

    /// Waits until there is something to process.
    public func wait() throws(BusError) {
        try unsafe BusError.check("waiting for the bus", sd_bus_wait(handle, UInt64.max))
    }

    var descriptor: Int32 { unsafe sd_bus_get_fd(handle) }

    /// The number of messages that are not written yet.
    var queueLength: UInt64 {
        var length: UInt64 = 0
        return unsafe sd_bus_get_n_queued_write(handle, &length) < 0 ? 0 : length
    }

    /// Whether there is unwritten output.
    var hasOutput: Bool {
        let events = unsafe sd_bus_get_events(handle)
        return events > 0 && events & Int32(POLLOUT) != 0
    }
}
