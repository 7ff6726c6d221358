public import MandosCore
public import MandosFormats

/// All clients and what is known of each: the only mutable state of the server.
public actor Registry {
    private var clients: [String: Client] = [:]
    private var nameOfKey: [KeyID: String] = [:]
    private let now: @Sendable () -> Moment

    /// `now` reads the clocks. The settings must have distinct names and key IDs, as ``Configuration`` makes sure.
    public init(_ settings: [ClientSettings], now: @escaping @Sendable () -> Moment = SystemClock.now) {
        self.now = now
        let start = now().boot
        for settings in settings {
            clients[settings.name] = Client(settings, at: start)
            if let keyID = settings.keyID { nameOfKey[keyID] = settings.name }
        }
    }

    /// Who asks, and what the answer is at this moment.
    public struct Answer: Sendable {
        /// nil if no client has the key.
        public let clientName: String?
        public let decision: SecretDecision
    }

    /// The answer to a peer that proved to have the key `keyID`, or no key at all, and asked at `waitingSince`.
    public func answer(to keyID: KeyID?, waitingSince: BootTime) -> Answer {
        guard let keyID, let name = nameOfKey[keyID], let client = clients[name] else {
            return Answer(clientName: nil, decision: .refuse(.unknownKey))
        }
        return Answer(clientName: name, decision: client.secretDecision(waitingSince: waitingSince, at: now()))
    }

    /// Records that a client has received its secret whole.
    public func secretWasSent(toClientNamed name: String) {
        clients[name]?.secretWasSent(at: now().boot)
    }

    /// The present time on the clock that decides.
    public nonisolated var bootTime: BootTime { now().boot }
}
