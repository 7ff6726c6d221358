/// A section and its defaults, in which option values and the options that they refer to are looked up.
///
/// `%(option)s` expands to another option's value, `%%` to a percent sign.
/// Source: mandos-clients.conf(5), START TIME EXPANSION.
public struct ConfigScope: Sendable {
    public let section: ConfigFile.Section
    /// Default sections; the first one takes precedence.
    public let defaults: [ConfigFile.Section]
    /// Values of options that are set nowhere, by name; only for references to them.
    private let builtIn: [String: String]

    /// Maximum depth of nested expansions, the same as in the reference.
    static let deepestExpansion = 10

    /// Maximum number of expansions in one value.
    static let mostExpansions = 10_000
    /// Maximum length of an expanded value, in bytes.
    static let longestExpansion = 1 << 16

    public init(section: ConfigFile.Section, defaults: [ConfigFile.Section]) {
        self.init(section: section, defaults: defaults, builtIn: [:])
    }

    private init(section: ConfigFile.Section, defaults: [ConfigFile.Section], builtIn: [String: String]) {
        self.section = section
        self.defaults = defaults
        self.builtIn = builtIn
    }

    /// The same scope, where values may also refer to options that are set nowhere, whose values are in `builtIn`.
    public func referring(to builtIn: [String: String]) -> ConfigScope {
        ConfigScope(section: section, defaults: defaults, builtIn: builtIn)
    }

    /// The option before expansion, and the section that sets it.
    public func option(_ name: String) -> (option: ConfigFile.Option, section: ConfigFile.Section)? {
        for section in [section] + defaults {
            if let option = section[name] { return (option, section) }
        }
        return nil
    }

    /// A problem with the option `name`, with the line that sets it.
    public func problem(_ name: String, _ message: String, isReadError: Bool = false) -> ConfigProblem {
        guard let found = option(name) else {
            return section.problem(nil, "\(name): \(message)", isReadError: isReadError)
        }
        return found.section.problem(found.option, message, isReadError: isReadError)
    }

    /// The expanded value of the option `name`, or nil if it is not set.
    public func value(_ name: String) throws(ConfigProblem) -> String? {
        guard let found = option(name) else { return nil }
        do throws(ExpansionError) {
            var budget = Self.mostExpansions
            return try expand(found.option.value, depth: 1, &budget)
        } catch {
            throw found.section.problem(found.option, error.message)
        }
    }

    /// The names of the options to which values of this section and its defaults refer.
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
                guard let value = option(name)?.option.value ?? builtIn[name] else {
                    throw ExpansionError(
                        message: "%(\(name))s: there is no option \"\(name)\" in [\(section.name)] or [DEFAULT];"
                            + " write %% for a percent sign")
                }
                expanded += try expand(value, depth: depth + 1, &budget)
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
