import CMandosSystem

/// A host name being looked up on a thread of its own, so that a slow resolver never delays another server.
///
/// The C library's resolver cannot be cancelled; a lookup that nobody waits for any more ends by itself.
public final class NameLookup {
    private let host: String
    private let port: UInt16
    private let finished: FileDescriptor
    // Written by the thread before it signals `finished`, read only after that.
    private var result: Result<[SocketAddress], ResolverError>?

    public init(host: String, port: UInt16) throws(SystemError) {
        self.host = host
        self.port = port
        let number = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("looking up a name") }
        finished = FileDescriptor(owning: number)

        var thread = pthread_t()
        let reference = unsafe Unmanaged.passRetained(self)
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<NameLookup>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, reference.toOpaque())
        guard code == 0 else {
            unsafe reference.release()
            throw SystemError("looking up a name", code: code)
        }
        pthread_detach(thread)
    }

    private func run() {
        result = SocketAddress.resolve(host: host, port: port, isNumeric: false)
        eventfd_write(finished.number, 1)
    }

    public func register(in set: inout PollSet) { set.add(finished.number) }

    /// The outcome, once there is one.
    public func advance() -> Result<[SocketAddress], ResolverError>? {
        var count: eventfd_t = 0
        guard unsafe eventfd_read(finished.number, &count) == 0 else { return nil }
        return result
    }
}
