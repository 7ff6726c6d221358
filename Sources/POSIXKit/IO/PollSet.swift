import CMandosSystem
public import MandosFormats

/// The descriptors and the deadline that one iteration of a poll loop waits for; created anew for each iteration.
public struct PollSet {
    private var entries: [pollfd] = []
    private var deadline: BootTime?

    public init() {}

    /// The event to wait for on a descriptor; errors and hang-ups are always included.
    public enum Interest { case reading, writing, both, hangUp }

    /// Adds a descriptor to wait for.
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

    /// Limits the wait to `deadline`, if it is earlier than the present limit.
    public mutating func limit(to deadline: BootTime?) {
        guard let deadline else { return }
        self.deadline = min(self.deadline ?? deadline, deadline)
    }

    /// Waits until a descriptor is ready, the deadline passes, or a signal interrupts the wait.
    public mutating func wait() { wait(milliseconds: -1) }

    /// Waits also for a library's entries, `count` structures of poll(2) at `others`, and for at most `milliseconds`
    /// unless that is negative.
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
        // A failure, such as an interruption, means that nothing is ready; the caller's next iteration tries again.
        if unsafe poll(&entries, nfds_t(entries.count), timeout) < 0 {
            for index in entries.indices { entries[index].revents = 0 }
        }
    }

    /// Whether the event, an error or a hang-up happened on `descriptor`, which may have several entries.
    public func isReady(_ descriptor: Int32, for interest: Interest = .reading) -> Bool {
        let events = Self.events(interest) | Int16(POLLERR | POLLHUP | POLLNVAL)
        return entries.contains { $0.fd == descriptor && $0.revents & events != 0 }
    }
}

/// Waits until `descriptor` is readable or at end of file.
///
/// - Returns: false if it is neither by `deadline`.
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

/// Whether the other side of `descriptor` is closed, such as the reading end of a pipe; never waits.
public func hasHungUp(_ descriptor: Int32) -> Bool {
    var set = PollSet()
    set.add(descriptor, for: .hangUp)
    set.limit(to: .now())
    set.wait()
    return set.isReady(descriptor, for: .hangUp)
}

/// Whether `descriptor` is readable or at end of file; never waits.
public func isReadable(_ descriptor: Int32) -> Bool { waitUntilReadable(descriptor, until: .now()) }
