import CEpoll
import Glibc
import POSIXKit

/// Tells which of many descriptors have something new.
///
/// Not `PollSet`: with poll(2) each of some 10,000 turns would look at all 2,000 descriptors, on the processors that the
/// server needs. This is edge-triggered, so whoever is told reads and writes until the descriptor is not ready.
@safe struct ReadinessQueue: ~Copyable {
    private let descriptor: FileDescriptor
    private var events = unsafe [epoll_event](repeating: epoll_event(), count: mostPerTurn)

    private static let mostPerTurn = 256

    init() throws {
        let number = epoll_create1(Int32(EPOLL_CLOEXEC))
        if number < 0 { throw SystemError("making an epoll descriptor", code: errno) }
        descriptor = FileDescriptor(owning: number)
    }

    /// Watches a descriptor until it is closed.
    func add(_ watched: Int32) throws {
        var event = unsafe epoll_event()
        unsafe event.events = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLET.rawValue
        unsafe event.data.fd = watched
        if unsafe epoll_ctl(descriptor.number, EPOLL_CTL_ADD, watched, &event) < 0 {
            throw SystemError("watching a descriptor", code: errno)
        }
    }

    /// Waits until something is new, or for so long; what was interrupted found nothing.
    mutating func wait(atMost time: Duration) -> [Int32] {
        let milliseconds = Int32(clamping: max(1, time.components.seconds * 1000))
        let count = unsafe epoll_wait(descriptor.number, &events, Int32(Self.mostPerTurn), milliseconds)
        return unsafe events.prefix(max(0, Int(count))).map { unsafe $0.data.fd }
    }
}
