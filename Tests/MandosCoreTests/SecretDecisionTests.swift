import MandosFormats
import Testing

@testable import MandosCore

private let start = BootTime(milliseconds: 1_000_000)
private let secret = Secret([1, 2, 3])

private func moment(_ seconds: Int64) -> Moment {
    Moment(boot: start + .seconds(seconds), wall: Timestamp(secondsSince1970: 1_800_000_000 + seconds))
}

private func settings(
    delay: Int64 = 0, byDefault: Bool = true, enabled: Bool = true, keyExpires: Timestamp? = nil
) -> ClientSettings {
    ClientSettings(
        name: "foo", keyID: nil, fingerprint: "", secret: secret, host: "", checker: .always, timeout: .seconds(300),
        extendedTimeout: .seconds(900), interval: .seconds(120), approvalDelay: .seconds(delay),
        approvalDuration: .seconds(1), approvedByDefault: byDefault, enabled: enabled, keyExpires: keyExpires)
}

/// The table in mandos(8), APPROVAL and CHECKING, row by row; the client asks at second 10.
struct DecisionRow: Sendable, CustomTestStringConvertible {
    let situation: String
    let settings: ClientSettings
    /// An operator's answer, and when it was given.
    var answer: (approved: Bool, at: Int64)?
    let now: Int64
    let decision: SecretDecision

    var testDescription: String { situation }
}

@Suite struct `Whether a client gets its secret` {
    static let asked: Int64 = 10

    static let rows: [DecisionRow] = [
        .init(situation: "enabled, no delay", settings: settings(), now: 10, decision: .release(secret)),
        .init(
            situation: "no delay, though not approved by default", settings: settings(byDefault: false), now: 10,
            decision: .release(secret)),
        .init(
            situation: "disabled in the file", settings: settings(enabled: false), now: 10, decision: .refuse(.disabled)
        ),
        .init(situation: "last moment before the timeout", settings: settings(), now: 299, decision: .release(secret)),
        .init(situation: "timed out", settings: settings(), now: 300, decision: .refuse(.disabled)),
        .init(
            situation: "timed out while waiting", settings: settings(delay: 1000), now: 300,
            decision: .refuse(.disabled)),
        .init(
            situation: "delay, nobody answered yet", settings: settings(delay: 20), now: 10,
            decision: .awaitApproval(until: start + .seconds(30))),
        .init(
            situation: "delay, almost over", settings: settings(delay: 20), now: 29,
            decision: .awaitApproval(until: start + .seconds(30))),
        .init(
            situation: "delay over, approved by default", settings: settings(delay: 20), now: 30,
            decision: .release(secret)),
        .init(
            situation: "delay over, not approved by default", settings: settings(delay: 20, byDefault: false), now: 30,
            decision: .refuse(.approvalTimedOut)),
        .init(
            situation: "approved while waiting", settings: settings(delay: 20, byDefault: false), answer: (true, 15),
            now: 15, decision: .release(secret)),
        .init(
            situation: "approved just before asking", settings: settings(delay: 20), answer: (true, 9), now: 9,
            decision: .release(secret)),
        .init(
            situation: "approval that has run out", settings: settings(delay: 20), answer: (true, 9), now: 10,
            decision: .awaitApproval(until: start + .seconds(30))),
        .init(
            situation: "denied while waiting", settings: settings(delay: 20), answer: (false, 15), now: 15,
            decision: .refuse(.denied)),
        .init(
            situation: "denied, though there is no delay", settings: settings(), answer: (false, 10), now: 10,
            decision: .release(secret)),
        .init(
            situation: "key not expired yet", settings: settings(keyExpires: moment(11).wall), now: 10,
            decision: .release(secret)),
        .init(
            situation: "key expired", settings: settings(keyExpires: moment(10).wall), now: 10,
            decision: .refuse(.keyExpired)),
        .init(
            situation: "key expired and approved", settings: settings(delay: 20, keyExpires: moment(0).wall),
            answer: (true, 10), now: 10, decision: .refuse(.keyExpired)),
    ]

    @Test(arguments: rows)
    func `is decided as the manual says`(row: DecisionRow) {
        var client = Client(row.settings, firstCheckDelay: .zero, at: moment(0))
        if let (approved, at) = row.answer { client.answer(approved: approved, at: moment(at).boot) }
        #expect(client.secretDecision(requestedAt: moment(Self.asked).boot, at: moment(row.now)) == row.decision)
    }
}

@Suite struct `A secret that was sent` {
    @Test func `extends the client's life by extended_timeout`() {
        var client = Client(settings(), firstCheckDelay: .zero, at: moment(0))
        client.secretWasSent(at: moment(10).boot)
        #expect(client.isEnabled(at: moment(909).boot))
        #expect(!client.isEnabled(at: moment(910).boot))
    }

    @Test(arguments: [settings(enabled: false), settings()])
    func `never enables a client that is disabled or timed out`(settings: ClientSettings) {
        var client = Client(settings, firstCheckDelay: .zero, at: moment(0))
        let before = client.status
        client.secretWasSent(at: moment(300).boot)
        #expect(client.status == before)
        #expect(client.secretDecision(requestedAt: start, at: moment(301)) == .refuse(.disabled))
    }

    @Test func `is never printed`() {
        var dumped = ""
        dump(secret, to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), dumped, "\(settings())"] {
            #expect(!text.contains("1, 2, 3"), "\(text)")
        }
    }
}
