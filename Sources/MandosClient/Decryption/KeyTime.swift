import MandosFormats
import POSIXKit

/// Detects a clock that has lost the time: of the OpenPGP programs, only GnuPG decrypts with a key that was made in the future.
public enum KeyTime {
    /// The time to set the clock forward to, in milliseconds since 1970; nil if the clock is good enough.
    ///
    /// This is when the key was made, or when its file was last changed, if that is later: after any signature in the file.
    public static func neededForDecryption(secretKeyFile: String) -> Int64? {
        guard var file = try? readFile(secretKeyFile, limit: ClientKeys.maximumFileSize) else { return nil }
        defer { wipe(&file) }
        guard let made = OpenPGPMessage.creationOfKey(file), Clocks.wall < made * 1000 else { return nil }
        return max(made * 1000, (try? timeOfChange(secretKeyFile)) ?? 0) + 1000
    }
}
