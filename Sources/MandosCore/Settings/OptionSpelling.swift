public import MandosFormats

/// Finds options that nothing reads, which are probably misspelt.
public enum OptionSpelling {
    /// A warning for each option of `section` that is neither known nor referred to by another option.
    public static func warnings(
        for section: ConfigFile.Section, known: Set<String>, referenced: () -> Set<String>
    ) -> [ConfigProblem] {
        let unknown = section.options.filter { !known.contains($0.name) }
        // Few sections have unknown options, and finding all references is slow.
        if unknown.isEmpty { return [] }
        let referenced = referenced()
        return unknown.compactMap { option in
            if referenced.contains(option.name) { return nil }
            let suggestion = nearest(to: option.name, among: known).map { "; did you mean \"\($0)\"?" } ?? ""
            return section.problem(option, "unknown option, ignored\(suggestion)")
        }
    }

    /// The known name that differs in at most a third of its letters; nil if there is none.
    static func nearest(to name: String, among known: Set<String>) -> String? {
        let distances = known.sorted().map { ($0, editDistance(Array(name.utf8), Array($0.utf8))) }
        guard let best = distances.min(by: { $0.1 < $1.1 }), best.1 * 3 <= best.0.utf8.count else { return nil }
        return best.0
    }

    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let substitution = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}
