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

    /// A request that is being answered with a secret.
    struct ReceivingRequest {
        let waiter: ApprovalWaiter
        let secret: Secret
    }

    /// The answer to a request at this moment, and the name of the client; nil if no client has the key.
    ///
    /// A request that has to wait for approval is announced to operators, and woken when there may be a new answer; one that
    /// is answered with the secret is cut off if the client loses the right to it; both until ``requestEnded(_:)``.
    func answer(_ waiter: ApprovalWaiter) -> (clientName: String?, decision: SecretDecision) {
        guard let keyID = waiter.keyID, let entry = roster[keyID] else { return (nil, .refuse(.unknownKey)) }
        let now = environment.now()
        if entry.client.hasExpired(at: now.boot) { disableExpired([entry.name]) }
        noticeKeyExpiry(of: entry, at: now.wall)
        let request = waiting[keyID]?[ObjectIdentifier(waiter)]
        let others = (waiting[keyID]?.count ?? 0) - (request == nil ? 0 : 1)
        let decision = entry.client.secretDecision(
            requestedAt: waiter.since, answer: request?.answer, otherWaitingRequests: others, at: now)
        if case .awaitApproval(let deadline) = decision, request == nil {
            awaitApproval(waiter, keyID, entry, until: deadline, at: now)
        }
        if case .release(let secret) = decision {
            receiving[keyID, default: [:]][ObjectIdentifier(waiter)] = ReceivingRequest(waiter: waiter, secret: secret)
        }
        return (entry.name, decision)
    }

    /// Has it saved without delay when the time of a client's key is over: from then on, the clock does not matter.
    func noticeKeyExpiry(of entry: Roster.Entry, at now: Timestamp) {
        var client = entry.client
        client.noticeKeyExpiry(at: now)
        guard client != entry.client else { return }
        put(client, entry.name)
        saveLater([entry.name], within: .zero)
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

    /// Removes a request that is answered, or whose peer has left.
    func requestEnded(_ waiter: ApprovalWaiter) {
        guard let keyID = waiter.keyID else { return }
        cuts[ObjectIdentifier(waiter)] = nil
        if receiving[keyID]?.removeValue(forKey: ObjectIdentifier(waiter)) != nil, receiving[keyID]?.isEmpty == true {
            receiving[keyID] = nil
        }
        guard waiting[keyID]?[ObjectIdentifier(waiter)] != nil else { return }
        let name = roster[keyID]?.name
        let snapshot = name.flatMap { subscribedSnapshot($0) }
        waiting[keyID]?[ObjectIdentifier(waiter)] = nil
        if waiting[keyID]?.isEmpty == true { waiting[keyID] = nil }
        if let name { publishChange(from: snapshot, name) }
    }

    /// Wakes every waiting request with this key, so that it is decided again, and cuts off those that are receiving a
    /// secret to which the client has no right any more.
    func reconsider(_ keyID: KeyID?) {
        guard let keyID else { return }
        for request in waiting[keyID, default: [:]].values { request.waiter.wakeUp.signal() }
        for (id, request) in receiving[keyID, default: [:]] where cuts[id] == nil && !mayFinish(request, keyID) {
            cuts[id] = Task { await request.waiter.cut() }
        }
    }

    private func mayFinish(_ request: ReceivingRequest, _ keyID: KeyID) -> Bool {
        guard let client = roster[keyID]?.client else { return false }
        let now = environment.now()
        if case .denied(let until) = client.approval, now.boot < until { return false }
        return client.isEnabled(at: now.boot) && !client.hasKeyExpired(at: now.wall)
            && client.settings.secret == request.secret
    }

    /// Returns when nothing more is sent to those that lost the right to their secrets.
    func waitForCuts() async {
        for cut in cuts.values { await cut.value }
    }

    /// Records an operator's answer to every request that waits at this moment and shows this key.
    func settleWaiting(_ keyID: KeyID?, approved: Bool) {
        guard let keyID else { return }
        for id in waiting[keyID, default: [:]].keys { waiting[keyID]?[id]?.answer = approved }
        reconsider(keyID)
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
