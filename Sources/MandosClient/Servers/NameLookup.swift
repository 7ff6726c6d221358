import CMandosSystem
import MandosFormats
import POSIXKit

/// A question to the resolver, on a thread of its own, so that a slow resolver never delays another server.
///
/// The C library's resolver cannot be cancelled; a lookup that nobody waits for any more ends by itself.
final class NameLookup {
    enum Question: Sendable {
        case addresses(host: String, port: UInt16)
        /// Which servers DNS names for a service of a domain, as in "_mandos._tcp.example.org". Source: RFC 2782.
        case services(name: String)
    }

    enum Answer {
        case addresses([SocketAddress])
        case services([(host: String, port: UInt16)])
    }

    private let question: Question
    private let finished: FileDescriptor
    // Written by the thread before it signals `finished`, read only after that.
    private var result: Result<Answer, ResolverError>?

    init(_ question: Question) throws(SystemError) {
        self.question = question
        let number = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("looking up a name") }
        finished = FileDescriptor(owning: number)
        try DetachedThread.start("looking up a name", run)
    }

    private func run() {
        switch question {
        case .addresses(let host, let port):
            result = SocketAddress.resolve(host: host, port: port, isNumeric: false).map { .addresses($0) }
        case .services(let name): result = Self.services(name).map { .services($0) }
        }
        eventfd_write(finished.number, 1)
    }

    /// Of one domain, no more servers than this are tried.
    private static let mostServices: Int32 = 16

    private static func services(_ name: String) -> Result<[(host: String, port: UInt16)], ResolverError> {
        var found = [cmandos_service](repeating: cmandos_service(), count: Int(mostServices))
        var error: Int32 = 0
        let count = unsafe cmandos_find_services(name, &found, mostServices, &error)
        if count < 0 { return .failure(ResolverError(code: error)) }
        return .success(
            found.prefix(Int(count)).map { service in
                let host = unsafe withUnsafeBytes(of: service.host) { bytes in
                    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                return (host, service.port)
            })
    }

    func register(in set: inout PollSet) { set.add(finished.number) }

    /// The outcome, once there is one.
    func advance() -> Result<Answer, ResolverError>? {
        var count: eventfd_t = 0
        guard unsafe eventfd_read(finished.number, &count) == 0 else { return nil }
        return result
    }
}
