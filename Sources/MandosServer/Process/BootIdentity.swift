import FoundationEssentials
public import MandosCore

extension BootID {
    /// The ID of the present boot. Source: random(4), `/proc/sys/kernel/random/boot_id`.
    public static let current = BootID(
        contents: try? String(contentsOf: URL(filePath: "/proc/sys/kernel/random/boot_id"), encoding: .utf8))

    /// The ID in the kernel's file; one of its own where that has none, since two unknown boots are not the same.
    init(contents: String?) {
        let id = contents?.split(whereSeparator: \.isWhitespace).first.flatMap { UUID(uuidString: String($0)) }
        // In lower case, as the kernel writes it, and as it was saved before.
        self.init(id.map { "\($0)".lowercased() } ?? "unknown, \(UUID())")
    }
}
