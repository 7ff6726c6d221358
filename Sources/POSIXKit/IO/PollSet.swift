import CMandosSystem
public import MandosFormats

/// The descriptors and the deadline that one turn of a poll loop waits for; made anew each turn.
public struct PollSet {
    private var entries: [pollfd] = []
    private var deadline: BootTime?

    public init() {}

    /// The event to wait for on a descriptor; errors and hang-ups always count.
    public enum Interest { case reading, writing, both, hangUp }

    /// Waits also for `descriptor`.
    public mutating func add(_ descriptor: Int32, for interest: Interest = .reading) {
        entries.append(pollfd(fd: descriptor, events: Self.events(interest), revents: 0))
    }

    private static func events(_ interest: Interest) -> Int16 {
        switch interest {
        case .reading: Int16(POLLIN)
        case .writing: Int16(POLLOUT)
        case .both: Int16(POLLIN | POLLOUT)
        case .hangUp: 0
        }
    }

    /// Waits no longer than until `deadline`.
    public mutating func limit(to deadline: BootTime?) {
        guard let deadline else { return }
        self.deadline = min(self.deadline ?? deadline, deadline)
    }

    /// Waits until something is ready, a deadline passes, or the wait is interrupted.
    public mutating func wait() { wait(milliseconds: -1) }

    /// Waits also for a library's entries, `count` of poll(2)'s at `others`, and no longer than `milliseconds` unless that is
    /// negative.
    ///
    /// - Returns: the number of the library's entries that are ready.
    public mutating func wait(with others: UnsafeMutableRawPointer?, count: Int, milliseconds: Int32) -> Int32 {
        guard let others = unsafe others?.assumingMemoryBound(to: pollfd.self) else {
            wait(milliseconds: milliseconds)
            return 0
        }
        let ownCount = entries.count
        for index in 0..<count { unsafe entries.append(others[index]) }
        wait(milliseconds: milliseconds)
        var ready: Int32 = 0
        for index in 0..<count {
            let events = entries[ownCount + index].revents
            unsafe others[index].revents = events
            if events != 0 { ready += 1 }
        }
        entries.removeLast(count)
        return ready
    }

    private mutating func wait(milliseconds: Int32) {
        var timeout = milliseconds
        if let deadline {
            let rest = Int32(clamping: max(0, deadline.milliseconds - BootTime.now().milliseconds))
            timeout = timeout < 0 ? rest : min(rest, timeout)
        }
        // A failure, such as an interruption, means that nothing is ready; the caller's next turn tries again.
        if unsafe poll(&entries, nfds_t(entries.count), timeout) < 0 {
            for index in entries.indices { entries[index].revents = 0 }
        }
    }

    /// Whether the event happened on `descriptor`, or an error or a hang-up. One descriptor may have several entries.
    public func isReady(_ descriptor: Int32, for interest: Interest = .reading) -> Bool {
        let events = Self.events(interest) | Int16(POLLERR | POLLHUP | POLLNVAL)
        return entries.contains { $0.fd == descriptor && $0.revents & events != 0 }
    }
}

/// Waits until there is something to read on `descriptor`, or its end.
///
/// - Returns: false if there is nothing by `deadline`.
public func waitUntilReadable(_ descriptor: Int32, until deadline: BootTime) -> Bool {
    while true {
        var set = PollSet()
        set.add(descriptor)
        set.limit(to: deadline)
        set.wait()
        if set.isReady(descriptor) { return true }
        if BootTime.now() >= deadline { return false }
    }
}

/// Whether there is something to read on `descriptor`, or its end; never waits.
public func isReadable(_ descriptor: Int32) -> Bool { waitUntilReadable(descriptor, until: .now()) }
