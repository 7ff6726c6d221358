import MandosFormats

/// A request for a secret, as the registry sees it: its key, address, arrival time, and the signal that wakes it.
final class ApprovalWaiter: Sendable {
    /// The key whose possession the peer proved; nil if it presented none.
    let keyID: KeyID?
    /// The address of the peer, for operators.
    let address: String
    /// When the request arrived.
    let since: BootTime
    /// Signalled when the request may have a new answer.
    let wakeUp: WakeUp
    /// Ends the connection, and what is being sent on it; returns when that is done.
    let cut: @Sendable () async -> Void

    init(
        keyID: KeyID?, address: String, since: BootTime, wakeUp: WakeUp = WakeUp(),
        cut: @escaping @Sendable () async -> Void = {}
    ) {
        self.keyID = keyID
        self.address = address
        self.since = since
        self.wakeUp = wakeUp
        self.cut = cut
    }
}
