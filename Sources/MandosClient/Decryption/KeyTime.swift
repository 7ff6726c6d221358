import MandosFormats
import POSIXKit

/// A machine whose clock has lost the time is before the time when its key was made, and no OpenPGP program decrypts then.
public enum KeyTime {
    /// What the clock has to be set forward to, in milliseconds since 1970; nil if it is right enough.
    ///
    /// The key file is changed after the key is made, and in the past; there may be signatures in it as new as that.
    public static func neededForDecryption(secretKeyFile: String) -> Int64? {
        guard let file = try? readFile(secretKeyFile, limit: ClientKeys.largestFile),
            let made = OpenPGPMessage.creationOfKey(file)
        else { return nil }
        guard Clocks.wall < made * 1000 else { return nil }
        return max(made * 1000, (try? timeOfChange(secretKeyFile)) ?? 0) + 1000
    }
}
