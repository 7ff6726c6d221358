import CMandosSystem

/// The command line as it is, for a program that has no options.
public enum ProgramArguments {
    /// Without the program's own name.
    public static var all: [String] {
        (1..<max(Int(cmandos_argument_count()), 1)).compactMap { index in
            unsafe cmandos_arguments()[index].map { unsafe String(cString: $0) }
        }
    }

    /// Whether it asks for what every program answers.
    public static func isQuestion(_ argument: String) -> Bool {
        ["--help", "-?", "--usage", "--version", "-V"].contains { $0.utf8.elementsEqual(argument.utf8) }
    }
}
