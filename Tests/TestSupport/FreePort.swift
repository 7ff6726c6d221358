import Synchronization

/// Ports outside the range from which the kernel serves a request for any port, as other tests make all the time.
private let ports = 10_000..<32_000
private let next = Atomic(Int.random(in: ports))

/// The ID of a user who runs no other process, for tests that limit how many processes a user may have.
public func freeUserID() -> Int { Int.random(in: 1_000_000...2_000_000) }

/// A port that no other test uses.
public func freePort() -> Int {
    let number = next.add(1, ordering: .relaxed).oldValue
    return ports.lowerBound + number % ports.count
}
