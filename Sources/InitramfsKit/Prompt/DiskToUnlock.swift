import CMandosSystem
import POSIXKit

/// The disk to unlock, as far as the caller has named it.
public struct DiskToUnlock {
    /// The source device's name.
    public let source: String?
    /// The target's device mapper name.
    public let name: String?

    public init(source: String?, name: String?) {
        self.source = source
        self.name = name
    }

    /// The disk that the environment names; a variable that is set but empty counts.
    ///
    /// Source: password-prompt(8mandos), "ENVIRONMENT"; the second names are those of initramfs-tools before cryptsetup
    /// 2, which Mandos 1.8.16 also takes.
    public static var inEnvironment: DiskToUnlock {
        DiskToUnlock(
            source: variable("CRYPTTAB_SOURCE") ?? variable("cryptsource"),
            name: variable("CRYPTTAB_NAME") ?? variable("crypttarget"))
    }

    /// The prompt, in the words of askpass(8) and Mandos 1.8.16.
    public var prompt: String {
        if source == nil && name == nil { return "Enter passphrase to unlock the disk: " }
        return "Unlocking the disk" + (source.map { " " + $0 } ?? "") + (name.map { " (" + $0 + ")" } ?? "")
            + "\nEnter passphrase: "
    }

    private static func variable(_ name: StaticString) -> String? {
        unsafe getenv(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
            .map { unsafe String(cString: $0) }
    }
}
