import MandosFormats
import TestSupport

@testable import MandosCore

/// The moment some seconds after the start of a test.
func at(_ seconds: Int64) -> Moment {
    Moment(
        boot: BootTime(milliseconds: 1_000_000 + seconds * 1000),
        wall: Timestamp(secondsSince1970: 1_800_000_000 + seconds))
}

/// The settings of a client: timeout 300 s, extended timeout 900 s, interval 120 s.
func testSettings(_ name: String = "foo", enabled: Bool = true) -> ClientSettings {
    guard let settings = try? ClientSettings.parsing(section(name, "enabled = \(enabled)\n")) else {
        preconditionFailure("the section is valid")
    }
    return settings
}

extension Client {
    /// Runs a whole check: due, queued, started, ended.
    mutating func check(_ ending: TerminationStatus, startedAt start: Int64, endedAt end: Int64) {
        queueCheck(at: at(start).boot)
        checkStarted(at: at(start).boot)
        checkEnded(ending, at: at(end))
    }
}
