import InitramfsKit
import MandosFormats
import POSIXKit

/// Whether the volume that this program gets a password for, as a keyscript, has had a stored password before, such as the
/// server's.
///
/// cryptsetup's scripts run a keyscript again, `tries` times (crypttab(5)), if the volume has refused the password. The
/// server would send the same one until no try is left, so it is used once, and the other tries are for people. The plugin's
/// role tells whether its password was stored, since any plugin may fetch one.
struct VolumeRecord: ~Copyable {
    private static let path = "/run/plugin-runner.answered"

    private let volume: [UInt8]
    /// Of `CRYPTTAB_TRIED`.
    private let tries: Int64
    private var answered: AnsweredQuestions

    /// To be called while this process is root, which owns /run.
    ///
    /// - Returns: nil if the environment names no volume: this program is not a keyscript.
    static func ofEnvironment(report: (String) -> Void) -> VolumeRecord? {
        guard let volume = ProcessEnvironment.value(of: "CRYPTTAB_NAME"), !volume.utf8.isEmpty else { return nil }
        let tried = ProcessEnvironment.value(of: "CRYPTTAB_TRIED") ?? ""
        return VolumeRecord(
            volume: Array(volume.utf8), tries: decimalNumber(tried.utf8) ?? 0,
            answered: AnsweredQuestions(at: path, report: report))
    }

    /// Whether the volume has refused a stored password. If that cannot be remembered, it is assumed of any earlier
    /// try.
    var hasRefused: Bool { answered.canKeep(volume) ? !answered.allows(volume) : tries > 0 }

    /// Records that the volume gets a stored password now.
    mutating func hasGotStoredPassword(report: (String) -> Void) { answered.add(volume, report: report) }
}
