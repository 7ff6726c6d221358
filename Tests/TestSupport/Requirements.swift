import Foundation
import Glibc
public import Testing

/// Whether this is a run of the CI, which skips no test.
private let isCI = ProcessInfo.processInfo.environment["CI"] != nil

extension Trait where Self == ConditionTrait {
    /// Skips a test that makes namespaces, or looks at how a program gives up its privileges, unless it runs as root.
    public static var needsRoot: Self {
        .enabled(if: getuid() == 0 || isCI, "needs root, for namespaces of its own")
    }

    /// Skips a test that has the reference implementation as a peer, unless that has been fetched.
    public static var needsReference: Self {
        .enabled(
            if: FileManager.default.fileExists(atPath: Reference.root + "/usr/sbin/mandos") || isCI,
            "needs the reference implementation: run scripts/fetch-reference")
    }
}
