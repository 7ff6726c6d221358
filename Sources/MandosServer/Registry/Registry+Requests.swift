import MandosCore
import MandosFormats

/// Requests for secrets.
extension Registry {
    /// The answer to a request at this moment, and the name of the client; nil if no client has the key.
    ///
    /// That a client is disabled is durable before it is answered. A request that has to wait for approval is made known
    /// to operators and woken when there may be a new answer, until ``requestEnded(_:)``.
    func answer(_ waiter: ApprovalWaiter) -> (clientName: String?, decision: SecretDecision) {
        guard let keyID = waiter.keyID, let entry = roster[keyID] else { return (nil, .refuse(.unknownKey)) }
        let now = environment.now()
        if entry.client.hasExpired(at: now.boot) { disableExpired([entry.name]) }
        let isWaiting = waiters[keyID]?[ObjectIdentifier(waiter)] != nil
        let others = (waiters[keyID]?.count ?? 0) - (isWaiting ? 1 : 0)
        let decision = entry.client.secretDecision(requestedAt: waiter.since, otherWaitingRequests: others, at: now)
        if case .awaitApproval(let deadline) = decision, !isWaiting {
            awaitApproval(waiter, keyID, entry, until: deadline, at: now)
        }
        return (entry.name, decision)
    }

    private func awaitApproval(
        _ waiter: ApprovalWaiter, _ keyID: KeyID, _ entry: Roster.Entry, until deadline: BootTime, at now: Moment
    ) {
        change(entry.name) { $0.approvalWasRequested(at: now.wall) }
        let snapshot = subscribedSnapshot(entry.name)
        waiters[keyID, default: [:]][ObjectIdentifier(waiter)] = waiter
        publishChange(from: snapshot, entry.name)
        publish(about: entry.name) {
            .approvalNeeded(
                path: $0, within: max(.zero, deadline - now.boot),
                approvedByDefault: entry.client.settings.approvedByDefault, address: waiter.address)
        }
    }

    /// The request does not wait any more.
    func requestEnded(_ waiter: ApprovalWaiter) {
        guard let keyID = waiter.keyID, waiters[keyID]?[ObjectIdentifier(waiter)] != nil else { return }
        let name = roster[keyID]?.name
        let snapshot = name.flatMap { subscribedSnapshot($0) }
        waiters[keyID]?[ObjectIdentifier(waiter)] = nil
        if waiters[keyID]?.isEmpty == true { waiters[keyID] = nil }
        if let name { publishChange(from: snapshot, name) }
    }

    /// Has every request decided again that waits and shows this key.
    func wakeWaiters(of keyID: KeyID?) {
        guard let keyID else { return }
        for waiter in waiters[keyID, default: [:]].values { waiter.wakeUp.signal() }
    }

    /// The client has received its secret whole.
    func secretWasSent(to waiter: ApprovalWaiter) {
        counts.secretsSent += 1
        guard let keyID = waiter.keyID, let name = roster[keyID]?.name else { return }
        publish(about: name) { .secretSent(path: $0) }
        change(name) { $0.secretWasSent(at: environment.now().boot) }
    }

    func secretWasRefused(_ refusal: Refusal, to waiter: ApprovalWaiter) {
        counts.refusals[refusal, default: 0] += 1
        if refusal != .unknownKey, let keyID = waiter.keyID, let name = roster[keyID]?.name {
            publish(about: name) { .secretRefused(path: $0, refusal) }
        } else {
            subscriber?(.unknownKey(waiter.keyID, address: waiter.address))
        }
    }
}
