/// Whether to set the clock forward to the time of the OpenPGP key. Pure: does no input or output.
struct ClockRule {
    /// The clock, and the time of this program's file, in milliseconds since 1970.
    let clock: Int64
    let program: Int64
    /// Whether the machine is booting. In a booted system, any user may start a set-uid client.
    let isInitramfs: Bool
    /// Whether GnuPG is there, which is told to ignore that a key is newer than the clock.
    let hasGnuPG: Bool

    /// Why the clock is not set; nil if it is to be set.
    var objection: String? {
        // A clock that has lost the time altogether.
        if clock < program { return nil }
        if hasGnuPG { return "not before the time of this program, and gpg decrypts all the same" }
        // The key's time may be wrong, and not the clock: but no other program decrypts before it.
        return isInitramfs ? nil : "not before the time of this program, and the system has booted"
    }
}
