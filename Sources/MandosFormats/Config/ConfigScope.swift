/// One section together with the defaults behind it: where an option's value, and what it refers to, is found.
///
/// `%(option)s` stands for another option's value, `%%` for a percent sign.
/// Source: mandos-clients.conf(5), START TIME EXPANSION.
public struct ConfigScope: Sendable {
    public let section: ConfigFile.Section
    /// Nearest first.
    public let defaults: [ConfigFile.Section]

    /// How many expansions may lie inside each other; as in the reference.
    static let deepestExpansion = 10

    /// How many expansions one value may need.
    static let mostExpansions = 10_000
    /// How long an expanded value may become, in bytes.
    static let longestExpansion = 1 << 16

    public init(section: ConfigFile.Section, defaults: [ConfigFile.Section]) {
        self.section = section
        self.defaults = defaults
    }

    /// The option as written, and the section in which it was found.
    public func option(_ name: String) -> (option: ConfigFile.Option, section: ConfigFile.Section)? {
        for section in [section] + defaults {
            if let option = section[name] { return (option, section) }
        }
        return nil
    }

    /// A problem with `name`, told at the line where its value comes from.
    public func problem(_ name: String, _ message: String) -> ConfigProblem {
        guard let found = option(name) else { return section.problem(nil, "\(name): \(message)") }
        return found.section.problem(found.option, message)
    }

    /// The expanded value of `name`, or nil where neither section nor defaults have it.
    public func value(_ name: String) throws(ConfigProblem) -> String? {
        guard let found = option(name) else { return nil }
        do throws(ExpansionError) {
            var budget = Self.mostExpansions
            return try expand(found.option.value, depth: 1, &budget)
        } catch {
            throw found.section.problem(found.option, error.message)
        }
    }

    /// The names that the values of this section and its defaults refer to.
    public var referencedNames: Set<String> {
        var names: Set<String> = []
        for section in [section] + defaults {
            for option in section.options where option.value.utf8.contains(UInt8(ascii: "%")) {
                let pieces = (try? pieces(of: option.value)) ?? []
                for case .reference(let name) in pieces { names.insert(name) }
            }
        }
        return names
    }

    private struct ExpansionError: Error { let message: String }

    private func expand(_ text: String, depth: Int, _ budget: inout Int) throws(ExpansionError) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        guard depth <= Self.deepestExpansion else {
            throw ExpansionError(message: "%(…)s refers to itself, or more than \(Self.deepestExpansion) levels deep")
        }
        var expanded = ""
        for piece in try pieces(of: text) {
            switch piece {
            case .text(let text): expanded += text
            case .reference(let name):
                budget -= 1
                guard budget >= 0 else {
                    throw ExpansionError(message: "needs more than \(Self.mostExpansions) expansions")
                }
                guard let found = option(name) else {
                    throw ExpansionError(
                        message: "%(\(name))s: there is no option \"\(name)\" in [\(section.name)] or [DEFAULT];"
                            + " write %% for a percent sign")
                }
                expanded += try expand(found.option.value, depth: depth + 1, &budget)
                guard expanded.utf8.count <= Self.longestExpansion else {
                    throw ExpansionError(message: "expands to more than \(Self.longestExpansion) bytes")
                }
            }
        }
        return expanded
    }

    private func pieces(of text: String) throws(ExpansionError) -> [PercentFormat.Piece] {
        do throws(PercentFormat.SyntaxError) {
            return try PercentFormat.pieces(of: text)
        } catch {
            throw ExpansionError(message: error.description)
        }
    }
}

/// Text with `%(name)s` and `%%` in it: the form of start-time and of run-time expansion alike.
public enum PercentFormat {
    public enum Piece: Equatable, Sendable {
        case text(String)
        /// `%(name)s`, the name in lower case.
        case reference(String)
    }

    public struct SyntaxError: Error, Equatable, CustomStringConvertible {
        public let description = "after \"%\" comes \"%\" or \"(name)s\"; write %% for a percent sign"
    }

    public static func pieces(of text: String) throws(SyntaxError) -> [Piece] {
        var pieces: [Piece] = []
        var literal = Substring()
        var rest = text.utf8[...]
        func flush() {
            if !literal.isEmpty { pieces.append(.text(String(literal))) }
            literal = Substring()
        }
        while let percent = rest.firstIndex(of: UInt8(ascii: "%")) {
            literal += Substring(rest[..<percent])
            rest = rest[percent...].dropFirst()
            switch rest.first {
            case UInt8(ascii: "%"):
                literal += "%"
                rest = rest.dropFirst()
            case UInt8(ascii: "("):
                let name = rest.dropFirst().prefix { $0 != UInt8(ascii: ")") }
                rest = rest[name.endIndex...].dropFirst()
                guard !name.isEmpty, rest.first == UInt8(ascii: "s") else { throw SyntaxError() }
                rest = rest.dropFirst()
                flush()
                pieces.append(.reference(Substring(name).lowercased()))
            default: throw SyntaxError()
            }
        }
        literal += Substring(rest)
        flush()
        return pieces
    }
}
