import MandosFormats

/// A file of command line options.
///
/// Source: plugin-runner(8mandos), FILES: words between white space; from "#" to the end of a line is a comment.
enum ArgumentFile {
    /// The words of `contents`, in order, without those that contain a zero byte.
    static func words(of contents: [UInt8]) -> [String] {
        var words: [String] = []
        for line in contents.split(separator: UInt8(ascii: "\n")) {
            let text = line.prefix { $0 != UInt8(ascii: "#") }
            for word in text.split(whereSeparator: isSpace) where !word.contains(0) {
                words.append(String(decoding: word, as: UTF8.self))
            }
        }
        return words
    }
}
