import Foundation

/// The places of the sources and of the programs under test.
public enum Place {
    /// The package's directory.
    public static let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// The path of one of our programs, as this test run has built it.
    public static func program(_ name: String) -> String {
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().path + "/" + name
    }
}
