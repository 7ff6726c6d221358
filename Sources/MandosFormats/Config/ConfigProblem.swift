/// An error in a configuration file, described as `FILE:LINE: OPTION: MESSAGE`.
public struct ConfigProblem: Error, Equatable, CustomStringConvertible {
    public let path: String
    /// Counted from 1; 0 if the problem concerns the whole file.
    public let line: Int
    public let option: String?
    public let message: String
    /// Whether a file could not be read, which may pass by itself, such as a network file system that comes late.
    public let isReadError: Bool

    public init(
        path: String, line: Int = 0, option: String? = nil, message: String, isReadError: Bool = false
    ) {
        self.path = path
        self.line = line
        self.option = option
        self.message = message
        self.isReadError = isReadError
    }

    public var description: String {
        var text = path
        if line > 0 { text += ":" + String(line) }
        if let option { text += ": " + option }
        // Text quoted from a file must not end the line.
        return singleLine(text + ": " + message)
    }
}
