import FoundationEssentials
public import MandosCore

extension BootID {
    /// The ID of the present boot; one of its own where that cannot be told, since two unknown boots are not the same.
    /// Source: random(4), `/proc/sys/kernel/random/boot_id`.
    public static let current = BootID(
        (try? String(contentsOf: URL(filePath: "/proc/sys/kernel/random/boot_id"), encoding: .utf8))?
            .trimmingPrefix(" ").prefix { !$0.isNewline }.description ?? "unknown, \(UUID())")
}
