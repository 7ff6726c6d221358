import POSIXKit

/// A directory for the homes of GnuPG, in memory, which root makes for another user: the initramfs may have no directory in which that
/// user may make one.
public struct DecryptionPlace: Sendable {
    public let path: String

    /// The first is the usual one; the kernel itself keeps the last one in memory, writable for root.
    private static let parents = Decryption.standardPlaces + ["/dev"]

    /// Makes the directory, if we are root, and GnuPG is installed.
    ///
    /// - Returns: nil if it is not needed, or not possible; a directory that the user makes may do then.
    public static func make(for user: UInt32, _ group: UInt32) -> DecryptionPlace? {
        guard Hardening.isRoot,
            DecryptionProgram.installed().contains(where: { if case .gnuPG = $0 { true } else { false } }),
            let path = try? makeDirectory(in: parents, prefix: "mandos-client")
        else { return nil }
        let place = DecryptionPlace(path: path)
        do throws(SystemError) {
            try FileDescriptor.directoryItself(path).give(to: user, group)
            return place
        } catch {
            place.remove()
            return nil
        }
    }

    /// Removes the directory if it is empty, as it is once the process that decrypts has ended in order.
    func remove() { removeDirectory(path) }
}
