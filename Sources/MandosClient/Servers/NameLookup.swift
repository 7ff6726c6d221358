import CMandosSystem
import MandosFormats
import POSIXKit

/// A DNS lookup on a thread of its own, so that a slow resolver never delays another server.
///
/// The C library's resolver cannot be cancelled; a lookup whose result is no longer awaited ends by itself.
final class NameLookup {
    enum Question: Sendable {
        case addresses(host: String, port: UInt16)
        /// The servers of a service of a domain, such as "_mandos._tcp.example.org". Source: RFC 2782.
        case services(name: String)
    }

    enum Answer {
        case addresses([SocketAddress])
        case services([ServerName])
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

    /// Maximum number of servers of one domain.
    private static let maximumServices: Int32 = 16

    private static func services(_ name: String) -> Result<[ServerName], ResolverError> {
        var found = [cmandos_service](repeating: cmandos_service(), count: Int(maximumServices))
        var error: Int32 = 0
        let count = unsafe cmandos_find_services(name, &found, maximumServices, &error)
        if count < 0 { return .failure(ResolverError(code: error)) }
        return .success(
            found.prefix(Int(count)).map { service in
                let host = unsafe withUnsafeBytes(of: service.host) { bytes in
                    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                return ServerName(host: host, port: service.port)
            })
    }

    func register(in set: inout PollSet) { set.add(finished.number) }

    /// The result, or nil while the lookup is under way.
    func advance() -> Result<Answer, ResolverError>? {
        var count: eventfd_t = 0
        guard unsafe eventfd_read(finished.number, &count) == 0 else { return nil }
        return result
    }
}
