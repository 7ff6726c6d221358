import POSIXKit

/// The command line of a program that has no options.
public enum NoOptions {
    // Never there; but the compiler takes code about a type without values for code that is never executed.
    private enum Option: Equatable, Sendable { case none }

    /// Answers `--help`, `--usage` and `--version`, and exits; of anything else, only says so: plugin-runner(8mandos) gives
    /// every plugin the global options.
    public static func read(_ program: StaticString, summary: StaticString, version: String) {
        let reader = CommandLineReader<Option>(program: program, summary: summary, options: [])
        for operand in reader.readTolerantly(version: version).operands {
            complain(program, "ignoring \"" + operand + "\": there are no options")
        }
    }
}
