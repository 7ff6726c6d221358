import POSIXKit

/// The command line of a program that has no options.
public enum NoOptions {
    // Never used; but the compiler treats code that handles a type without values as unreachable.
    private enum Option: Equatable, Sendable { case none }

    /// Answers `--help`, `--usage` and `--version`, and exits; only warns about other arguments, since
    /// plugin-runner(8mandos) passes the global options to every plugin.
    public static func read(_ program: StaticString, summary: StaticString, version: String) {
        let reader = CommandLineReader<Option>(program: program, summary: summary, options: [])
        for operand in reader.readTolerantly(version: version).operands {
            complain(program, "ignoring \"" + operand + "\": there are no options")
        }
    }
}
