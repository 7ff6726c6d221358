import MandosFormats

/// Reads typed values from one section and collects all problems, so that they are reported together.
struct ConfigValues {
    let scope: ConfigScope
    private(set) var problems: [ConfigProblem] = []

    init(_ scope: ConfigScope) { self.scope = scope }

    mutating func report(_ name: String, _ message: String, isReadError: Bool = false) {
        problems.append(scope.problem(name, message, isReadError: isReadError))
    }

    mutating func string(_ name: String) -> String? {
        do throws(ConfigProblem) {
            return try scope.value(name)
        } catch {
            problems.append(error)
            return nil
        }
    }

    /// Source: mandos-clients.conf(5) `enabled`.
    mutating func boolean(_ name: String, default fallback: Bool) -> Bool {
        guard let text = string(name) else { return fallback }
        switch text.lowercased() {
        case "1", "yes", "true", "on": return true
        case "0", "no", "false", "off": return false
        default:
            report(name, "\"\(text)\" is neither yes nor no; write one of 1 yes true on 0 no false off")
            return fallback
        }
    }

    mutating func timeSpan(_ name: String, default fallback: TimeSpan) -> TimeSpan {
        guard let text = string(name) else { return fallback }
        do throws(DurationSyntaxError) {
            return try TimeSpan(parsing: text)
        } catch {
            report(name, "\"\(text)\": \(error); write a duration such as PT5M or PT1H30M")
            return fallback
        }
    }

    mutating func number(_ name: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = string(name), !text.isEmpty else { return nil }
        guard let value = Int(text), range.contains(value) else {
            report(name, "\"\(text)\" is not a number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return value
    }

    /// The value of an option that may be missing or empty; nil in both cases.
    mutating func nonEmptyString(_ name: String) -> String? {
        guard let text = string(name), !text.isEmpty else { return nil }
        return text
    }
}
