import MandosFormats
import Testing

@testable import MandosCore

@Suite struct `After a restart` {
    private static let boot = BootID("this boot")
    private static let otherBoot = BootID("another boot")

    private func restored(
        _ client: Client, savedAt saved: Int64, at now: Int64, configured: ClientSettings = testSettings(),
        file: ClientSettings = testSettings(), bootID: BootID = boot
    ) -> Client {
        let record = client.record(configured: configured, bootID: Self.boot, at: at(saved))
        return Client.restored(file, from: record, firstCheckDelay: .zero, bootID: bootID, at: at(now))
    }

    private func checked(_ ending: TerminationStatus) -> Client {
        var client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        client.check(ending, startedAt: 0, endedAt: 1)
        return client
    }

    @Test(arguments: [boot, otherBoot]) func `an enabled client has the time that was left`(bootID: BootID) {
        let client = restored(checked(.exit(status: 0)), savedAt: 50, at: 100, bootID: bootID)
        #expect(client.isEnabled(at: at(300).boot))
        #expect(client.hasExpired(at: at(301).boot))
        #expect(client.lastCheckedOK == at(1).wall)
    }

    @Test func `a disabled client stays disabled`() {
        var client = checked(.exit(status: 0))
        client.disable()
        #expect(restored(client, savedAt: 50, at: 51).status == .disabled)
    }

    @Test func `one whose time ran out lives on only if its last checker had succeeded`() {
        #expect(restored(checked(.exit(status: 0)), savedAt: 50, at: 1000).isEnabled(at: at(1299).boot))
        #expect(restored(checked(.exit(status: 1)), savedAt: 50, at: 1000).status == .disabled)
        let never = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        #expect(restored(never, savedAt: 50, at: 1000).status == .disabled)
    }

    @Test func `a clock set back by a day gives no client a day`() {
        let record = checked(.exit(status: 1)).record(configured: testSettings(), bootID: Self.otherBoot, at: at(50))
        let now = Moment(boot: at(100).boot, wall: Timestamp(secondsSince1970: 1_800_000_000 - 86_400))
        let client = Client.restored(
            testSettings(), from: record, firstCheckDelay: .zero, bootID: Self.boot, at: now)
        #expect(client.hasExpired(at: at(100 + 900).boot))
    }

    @Test func `the file wins where it has changed, else what was saved does`() {
        var changed = testSettings()
        changed.timeout = .seconds(60)
        changed.host = "saved"
        var client = Client(testSettings(), firstCheckDelay: .zero, at: at(0))
        client.change(changed, at: at(0).boot)
        var file = testSettings()
        file.timeout = .seconds(77)
        file.interval = .seconds(88)
        let merged = restored(client, savedAt: 1, at: 2, file: file).settings
        #expect(merged.timeout == .seconds(77), "changed in the file and while running")
        #expect(merged.host == "saved", "changed while running only")
        #expect(merged.interval == .seconds(88), "changed in the file only")
    }

    @Test func `"enabled" in the file wins where it has changed`() {
        var disabled = checked(.exit(status: 0))
        disabled.disable()
        let off = testSettings(enabled: false)
        #expect(restored(disabled, savedAt: 1, at: 2, configured: off, file: testSettings()).isEnabled(at: at(3).boot))
        #expect(restored(checked(.exit(status: 0)), savedAt: 1, at: 2, file: off).status == .disabled)
        #expect(restored(disabled, savedAt: 1, at: 2, configured: off, file: off).status == .disabled)
    }

    @Test func `a boot clock that is lower than when it was saved is another boot's, whatever its ID`() {
        let record = checked(.exit(status: 1)).record(configured: testSettings(), bootID: Self.boot, at: at(50))
        let now = Moment(boot: at(10).boot, wall: at(1000).wall)
        let client = Client.restored(
            testSettings(), from: record, firstCheckDelay: .zero, bootID: Self.boot, at: now)
        #expect(client.status == .disabled)
    }
}
