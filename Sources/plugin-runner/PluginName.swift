/// Tells names of plugins from those of files that editors and dpkg(1) leave behind.
///
/// Source: plugin-runner(8mandos) `--plugin-dir`, and its observed behaviour.
enum PluginName {
    private static let badEndings = [
        "~", ".dpkg-new", ".dpkg-old", ".dpkg-bak", ".dpkg-dist", ".dpkg-tmp", ".dpkg-divert",
    ]

    static func isOne(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        if bytes.first == UInt8(ascii: ".") { return false }
        if bytes.first == UInt8(ascii: "#"), bytes.last == UInt8(ascii: "#") { return false }
        return !badEndings.contains {
            bytes.count >= $0.utf8.count && bytes.suffix($0.utf8.count).elementsEqual($0.utf8)
        }
    }
}
