import MandosFormats
import POSIXKit

/// Detects a clock that has lost the time: no OpenPGP program decrypts with a key that was made in the future.
public enum KeyTime {
    /// The time to set the clock forward to, in milliseconds since 1970; nil if the clock is good enough.
    ///
    /// This is when the key file was last changed: later than the key and any signature in the file, and in the past.
    public static func neededForDecryption(secretKeyFile: String) -> Int64? {
        guard let file = try? readFile(secretKeyFile, limit: ClientKeys.maximumFileSize),
            let made = OpenPGPMessage.creationOfKey(file)
        else { return nil }
        guard Clocks.wall < made * 1000 else { return nil }
        return max(made * 1000, (try? timeOfChange(secretKeyFile)) ?? 0) + 1000
    }
}
