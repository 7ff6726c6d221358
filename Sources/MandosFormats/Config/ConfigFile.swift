/// The sections and options of a configuration file, before expansion.
///
/// `[section]`, `option = value` or `option: value`; lines that begin with `#` or `;` are comments; an indented
/// line continues the previous value. Option names are case-insensitive, section names are not.
/// Source: mandos-clients.conf(5), mandos.conf(5).
public struct ConfigFile: Sendable {
    public struct Option: Equatable, Sendable {
        /// The name in lower case.
        public let name: String
        /// Continuation lines are joined by `\n`.
        public fileprivate(set) var value: String
        public let line: Int
    }

    public struct Section: Equatable, Sendable {
        public let name: String
        public let path: String
        public let line: Int
        public fileprivate(set) var options: [Option] = []

        public init(name: String, path: String, line: Int) {
            self.name = name
            self.path = path
            self.line = line
        }

        public subscript(name: String) -> Option? { options.first { $0.name == name } }

        /// A problem with `option` of this section, or, without one, with the section.
        public func problem(_ option: Option?, _ message: String, isReadError: Bool = false) -> ConfigProblem {
            ConfigProblem(
                path: path, line: option?.line ?? line, option: option?.name ?? "[\(name)]", message: message,
                isReadError: isReadError)
        }
    }

    public static let defaultSectionName = "DEFAULT"

    /// Maximum length of a section's name, in bytes: it is repeated in messages and D-Bus paths.
    static let longestName = 1024

    public let path: String
    /// The section `[DEFAULT]`, which may be missing or come in several parts.
    public private(set) var defaults: Section
    /// The other sections, in the order of the file.
    public private(set) var sections: [Section] = []
    /// The syntax errors, in the order of the file.
    public private(set) var problems: [ConfigProblem] = []

    /// Takes the sections out of this value.
    public mutating func takeSections() -> [Section] {
        defer { sections = [] }
        return sections
    }

    private init(path: String) {
        self.path = path
        defaults = Section(name: Self.defaultSectionName, path: path, line: 0)
    }

    /// Reads the contents of a file; `path` is for messages.
    public static func parse(_ contents: [UInt8], path: String) -> ConfigFile {
        var reader = LineReader(file: ConfigFile(path: path))
        // Some editors begin a file with a byte order mark.
        let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
        var start = contents.starts(with: byteOrderMark) ? byteOrderMark.count : 0
        while start < contents.endIndex {
            let end = contents[start...].firstIndex(of: UInt8(ascii: "\n")) ?? contents.endIndex
            reader.read(contents[start..<end])
            start = end + 1
        }
        return reader.finish()
    }

    /// Reads a file line by line.
    private struct LineReader {
        private enum Place: Equatable { case nowhere, defaults, section, skipped }

        private var file: ConfigFile
        private var place = Place.nowhere
        private var section: Section
        private var pending: (name: String, value: [UInt8], line: Int)?
        private var indentation = 0
        private var line = 0
        private var lineOfSection: [String: Int] = [:]

        init(file: ConfigFile) {
            self.file = file
            section = file.defaults
        }

        mutating func read(_ bytes: ArraySlice<UInt8>) {
            line += 1
            let text = trimmed(bytes)
            guard let first = text.first else {
                // An empty line is part of a value that continues after it.
                pending?.value.append(UInt8(ascii: "\n"))
                return
            }
            if first == UInt8(ascii: "#") || first == UInt8(ascii: ";") { return }
            let indentation = text.startIndex - bytes.startIndex
            if pending != nil, indentation > self.indentation {
                pending?.value.append(UInt8(ascii: "\n"))
                pending?.value.append(contentsOf: text)
                return
            }
            self.indentation = indentation
            endOption()
            if first == UInt8(ascii: "[") {
                beginSection(text)
            } else {
                beginOption(text)
            }
        }

        mutating func finish() -> ConfigFile {
            endOption()
            endSection()
            return file
        }

        private mutating func beginSection(_ text: ArraySlice<UInt8>) {
            endSection()
            place = .skipped
            guard let end = text.lastIndex(of: UInt8(ascii: "]")), end > text.startIndex + 1 else {
                return report("a section header needs a name and a \"]\", such as [client-name]")
            }
            let rest = trimmed(text[(end + 1)...])
            guard rest.isEmpty || rest.first == UInt8(ascii: "#") || rest.first == UInt8(ascii: ";") else {
                return report("there is text after the section header; move it to a new line")
            }
            let bytes = text[(text.startIndex + 1)..<end]
            guard bytes.count <= ConfigFile.longestName else {
                return report(
                    "this name is \(bytes.count) bytes long; the maximum is \(ConfigFile.longestName)")
            }
            guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                return report("a name must not contain control characters")
            }
            guard let name = string(bytes) else { return }
            if name == ConfigFile.defaultSectionName {
                place = .defaults
                section = file.defaults
            } else if let other = lineOfSection.updateValue(line, forKey: name) {
                lineOfSection[name] = other
                report("[\(name)] is here twice: it began at line \(other); rename or remove one")
            } else {
                place = .section
                section = Section(name: name, path: file.path, line: line)
            }
        }

        private mutating func beginOption(_ text: ArraySlice<UInt8>) {
            guard place != .nowhere else {
                return report("this line comes before any section; begin with a header such as [DEFAULT]")
            }
            let delimiter = text.firstIndex { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: ":") }
            guard let delimiter else {
                return report(
                    "neither an option nor a section: write \"option = value\"; indent continuation lines")
            }
            guard let name = string(ArraySlice(trimmed(text[..<delimiter]).map(lowercased))), !name.isEmpty else {
                return report("there is no option name before the \"\(text[delimiter] == 0x3A ? ":" : "=")\"")
            }
            pending = (name, Array(trimmed(text[(delimiter + 1)...])), line)
        }

        private mutating func endOption() {
            guard let option = pending else { return }
            pending = nil
            guard place != .skipped, let value = string(trimmed(option.value[...]), at: option.line) else { return }
            if let other = section[option.name] {
                file.problems.append(
                    ConfigProblem(
                        path: file.path, line: option.line, option: option.name,
                        message: "is here twice in [\(section.name)]: also at line \(other.line); remove one"))
                return
            }
            section.options.append(Option(name: option.name, value: value, line: option.line))
        }

        private mutating func endSection() {
            switch place {
            case .nowhere, .skipped: break
            case .defaults: file.defaults = section
            case .section: file.sections.append(section)
            }
        }

        private mutating func report(_ message: String) {
            file.problems.append(ConfigProblem(path: file.path, line: line, message: message))
        }

        private mutating func string(_ bytes: ArraySlice<UInt8>, at optionLine: Int? = nil) -> String? {
            if let text = String(validating: bytes, as: UTF8.self) { return text }
            file.problems.append(
                ConfigProblem(
                    path: file.path, line: optionLine ?? line, message: "not valid UTF-8; save the file as UTF-8"))
            return nil
        }

        private func lowercased(_ byte: UInt8) -> UInt8 {
            byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
        }
    }
}
