import MandosFormats

/// A request for a secret, as far as the registry has to know it: whose key, from where, since when, and how to wake it.
final class ApprovalWaiter: Sendable {
    /// The key that the peer proved to have; nil if it showed none.
    let keyID: KeyID?
    /// The address of the peer, for operators.
    let address: String
    /// When the request came.
    let since: BootTime
    /// Signalled when the request may have a new answer.
    let wakeUp: WakeUp

    init(keyID: KeyID?, address: String, since: BootTime, wakeUp: WakeUp = WakeUp()) {
        self.keyID = keyID
        self.address = address
        self.since = since
        self.wakeUp = wakeUp
    }
}
