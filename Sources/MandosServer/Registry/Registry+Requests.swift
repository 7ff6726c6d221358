import MandosCore
import MandosFormats

/// Requests for secrets.
extension Registry {
    /// A request that waits for approval.
    struct WaitingRequest {
        let waiter: ApprovalWaiter
        /// What an operator answered while it was waiting.
        var answer: Bool?
    }

    /// The answer to a request at this moment, and the name of the client; nil if no client has the key.
    ///
    /// A client whose lease has ended is saved as disabled before the answer. A request that has to wait for approval
    /// is announced to operators, and woken when there may be a new answer, until ``requestEnded(_:)``.
    func answer(_ waiter: ApprovalWaiter) -> (clientName: String?, decision: SecretDecision) {
        guard let keyID = waiter.keyID, let entry = roster[keyID] else { return (nil, .refuse(.unknownKey)) }
        let now = environment.now()
        if entry.client.hasExpired(at: now.boot) { disableExpired([entry.name]) }
        let request = waiting[keyID]?[ObjectIdentifier(waiter)]
        let others = (waiting[keyID]?.count ?? 0) - (request == nil ? 0 : 1)
        let decision = entry.client.secretDecision(
            requestedAt: waiter.since, answer: request?.answer, otherWaitingRequests: others, at: now)
        if case .awaitApproval(let deadline) = decision, request == nil {
            awaitApproval(waiter, keyID, entry, until: deadline, at: now)
        }
        return (entry.name, decision)
    }

    private func awaitApproval(
        _ waiter: ApprovalWaiter, _ keyID: KeyID, _ entry: Roster.Entry, until deadline: BootTime, at now: Moment
    ) {
        change(entry.name) { $0.approvalWasRequested(at: now.wall) }
        let snapshot = subscribedSnapshot(entry.name)
        waiting[keyID, default: [:]][ObjectIdentifier(waiter)] = WaitingRequest(waiter: waiter)
        publishChange(from: snapshot, entry.name)
        publish(about: entry.name) {
            .approvalNeeded(
                path: $0, within: max(.zero, deadline - now.boot),
                approvedByDefault: entry.client.settings.approvedByDefault, address: waiter.address)
        }
    }

    /// Removes a request that no longer waits for approval.
    func requestEnded(_ waiter: ApprovalWaiter) {
        guard let keyID = waiter.keyID, waiting[keyID]?[ObjectIdentifier(waiter)] != nil else { return }
        let name = roster[keyID]?.name
        let snapshot = name.flatMap { subscribedSnapshot($0) }
        waiting[keyID]?[ObjectIdentifier(waiter)] = nil
        if waiting[keyID]?.isEmpty == true { waiting[keyID] = nil }
        if let name { publishChange(from: snapshot, name) }
    }

    /// Wakes every waiting request with this key, so that it is decided again.
    func wakeWaiters(of keyID: KeyID?) {
        guard let keyID else { return }
        for request in waiting[keyID, default: [:]].values { request.waiter.wakeUp.signal() }
    }

    /// Records an operator's answer to every request that waits at this moment and shows this key.
    func settleWaiting(_ keyID: KeyID?, approved: Bool) {
        guard let keyID else { return }
        for id in waiting[keyID, default: [:]].keys { waiting[keyID]?[id]?.answer = approved }
        wakeWaiters(of: keyID)
    }

    /// Records that all of the secret was sent to the client.
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
