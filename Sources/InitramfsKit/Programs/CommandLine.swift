import CMandosSystem
import POSIXKit

/// One command line option of a program in the initramfs.
public struct CommandLineOption<ID: Equatable>: Sendable where ID: Sendable {
    public let id: ID
    let long: StaticString
    /// The letter of the short option; 0 if there is none.
    let short: UInt8
    /// The name of the value in the help; nil if the option takes none.
    let value: StaticString?
    let help: StaticString

    public init(
        _ id: ID, _ long: StaticString, short: Unicode.Scalar? = nil, value: StaticString? = nil, _ help: StaticString
    ) {
        self.id = id
        self.long = long
        self.short = short.map { UInt8(ascii: $0) } ?? 0
        self.value = value
        self.help = help
    }
}

/// A parser for a program's command line, by getopt_long(3), with the options that every program has.
public struct CommandLineReader<ID: Equatable & Sendable>: Sendable {
    private let program: StaticString
    private let summary: StaticString
    private let options: [CommandLineOption<ID>]
    /// The operands after the options, as shown in the help.
    private let operands: StaticString

    public init(
        program: StaticString, summary: StaticString, options: [CommandLineOption<ID>], operands: StaticString = ""
    ) {
        self.operands = operands
        self.program = program
        self.summary = summary
        self.options = options
    }

    // Return values of getopt_long, beyond every character: `base` plus an index into `options`, or one of the codes.
    private static var base: Int32 { 256 }
    private static var helpCode: Int32 { 1000 }
    private static var usageCode: Int32 { 1001 }
    private static var versionCode: Int32 { 1002 }

    /// The result of reading a command line.
    public struct Reading {
        /// The options in order, with their values; "" for an option that takes none.
        public var options: [(id: ID, value: String)] = []
        /// The arguments that are not options, and everything after "--".
        public var operands: [String] = []
        /// Whether an invalid option was reported and left out.
        public var isFlawed = false
    }

    /// Reads all options, in order, with their values; answers `--help`, `--usage` and `--version` itself and exits.
    /// Reports an invalid option or an operand on standard error and exits with `EX_USAGE`.
    public func read(version: String) -> [(id: ID, value: String)] {
        let reading = readWithOperands(version: version)
        if let extra = reading.operands.first {
            complain(program, "unexpected argument \"\(extra)\"")
            refuse()
        }
        return reading.options
    }

    /// Reads the command line of a program that takes operands.
    public func readWithOperands(version: String) -> Reading {
        read(arguments: Self.arguments, version: version, isTolerant: false)
    }

    /// Reads the command line of a program that must not fail: reports invalid options and leaves them out.
    public func readTolerantly(version: String) -> Reading {
        read(arguments: Self.arguments, version: version, isTolerant: true)
    }

    /// Reads arguments from a file; reports and leaves out invalid options, which here include `--help` and the like.
    public func read(fileContents arguments: [String]) -> Reading {
        read(arguments: arguments, version: nil, isTolerant: true)
    }

    private static var arguments: [String] {
        var arguments: [String] = []
        for index in 1..<max(Int(cmandos_argument_count()), 1) {
            if let argument = unsafe cmandos_arguments()[index] { unsafe arguments.append(String(cString: argument)) }
        }
        return arguments
    }

    private func read(arguments: [String], version: String?, isTolerant: Bool) -> Reading {
        let list = CStringList([program.description] + arguments)
        var reading = Reading()
        var longOptions = unsafe options.enumerated().map { index, option in
            unsafe Self.longOption(option.long, takesValue: option.value != nil, code: Self.base + Int32(index))
        }
        unsafe longOptions.append(Self.longOption("help", takesValue: false, code: Self.helpCode))
        unsafe longOptions.append(Self.longOption("usage", takesValue: false, code: Self.usageCode))
        unsafe longOptions.append(Self.longOption("version", takesValue: false, code: Self.versionCode))
        unsafe longOptions.append(CMandosSystem.option())

        cmandos_begin_options()
        while true {
            let code = unsafe getopt_long(Int32(list.count), list.pointers, shortOptions, longOptions, nil)
            if code == -1 { break }
            if let version {
                if code == Self.helpCode || isQuestionMark(code, list) { answer(help) }
                if code == Self.usageCode { answer(usage) }
                if code == Self.versionCode || code == Int32(UInt8(ascii: "V")) {
                    var text = HelpText(program, " ")
                    text.bytes += version.utf8
                    text.add("\n")
                    answer(text)
                }
            }
            guard let option = option(for: code) else {
                complain(program, problem(code, list) + (isTolerant ? "; it is ignored" : ""))
                guard isTolerant else { refuse() }
                reading.isFlawed = true
                continue
            }
            reading.options.append((option.id, unsafe cmandos_option_value().map { unsafe String(cString: $0) } ?? ""))
        }
        for index in Int(cmandos_option_index())..<max(list.count, Int(cmandos_option_index())) {
            if let operand = unsafe list.pointers[index] { unsafe reading.operands.append(String(cString: operand)) }
        }
        return reading
    }

    private func option(for code: Int32) -> CommandLineOption<ID>? {
        if code >= Self.base, code < Self.base + Int32(options.count) { return options[Int(code - Self.base)] }
        return options.first { $0.short != 0 && Int32($0.short) == code }
    }

    /// Whether the option is `-?`, which asks for help; getopt also returns `?` for an unknown option.
    private func isQuestionMark(_ code: Int32, _ arguments: borrowing CStringList) -> Bool {
        guard code == Int32(UInt8(ascii: "?")) else { return false }
        guard let argument = unsafe arguments.pointers[Int(cmandos_option_index()) - 1] else { return false }
        return unsafe strcmp(argument, "-?") == 0
    }

    /// Describes the problem with the option that was read last.
    private func problem(_ code: Int32, _ arguments: borrowing CStringList) -> String {
        let unknown = cmandos_unknown_option()
        let word = unsafe arguments.pointers[Int(cmandos_option_index()) - 1].map { unsafe String(cString: $0) } ?? ""
        let longestExcerpt = 80
        var excerpt = String(decoding: word.utf8.prefix(longestExcerpt), as: UTF8.self)
        if excerpt.utf8.count < word.utf8.count { excerpt += "…" }
        if code == Int32(UInt8(ascii: ":")) { return "\"\(excerpt)\" needs a value" }
        if unknown >= Self.base { return "\"\(excerpt)\": this option takes no value" }
        if unknown > 0x20, unknown < 0x7F {
            return "there is no option \"-" + String(decoding: [UInt8(unknown)], as: UTF8.self) + "\""
        }
        if unknown != 0 { return "options of one character are ASCII letters" }
        return "\"\(excerpt)\": there is no such option, or there are several that begin like this"
    }

    private static func longOption(_ name: StaticString, takesValue: Bool, code: Int32) -> CMandosSystem.option {
        let characters = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return unsafe CMandosSystem.option(name: characters, has_arg: takesValue ? 1 : 0, flag: nil, val: code)
    }

    /// As getopt(3) reads it: a null-terminated string. The colon at the start tells a missing value from an unknown option.
    private var shortOptions: [CChar] {
        var text = Array(":V?".utf8)
        for option in options where option.short != 0 {
            text.append(option.short)
            if option.value != nil { text.append(UInt8(ascii: ":")) }
        }
        return (text + [0]).map { CChar(bitPattern: $0) }
    }

    private var usage: HelpText {
        var text = HelpText("usage: ", program)
        for option in options {
            text.add(" [")
            text.add(option)
            text.add("]")
        }
        text.add(operands, "\n")
        return text
    }

    private var help: HelpText {
        var text = HelpText("usage: ", program)
        text.add(" [OPTION…]", operands, "\n", summary, "\n\n")
        for option in options {
            text.add("  ")
            if option.short == 0 {
                text.add("    ")
            } else {
                text.bytes += [UInt8(ascii: "-"), option.short]
                text.add(", ")
            }
            text.add(option)
            text.add("\n          ", option.help, "\n")
        }
        text.add("  -?, --help\n          Print this and exit.\n")
        text.add("      --usage\n          Print the options and exit.\n")
        text.add("  -V, --version\n          Print the version and exit.\n")
        return text
    }

    private func answer(_ text: HelpText) -> Never {
        _ = try? writeAll(text.bytes, to: STDOUT_FILENO)
        exit(0)
    }

    private func refuse() -> Never {
        complain(program, "try --help")
        exit(EX_USAGE)
    }
}

/// Text made of literals, as bytes: much less code than concatenated strings.
private struct HelpText {
    var bytes: [UInt8] = []

    init(_ parts: StaticString...) { for part in parts { add(part) } }

    mutating func add(_ parts: StaticString...) {
        for part in parts {
            unsafe bytes += UnsafeBufferPointer(start: part.utf8Start, count: part.utf8CodeUnitCount)
        }
    }

    /// The option's name, and the name of its value.
    mutating func add<ID>(_ option: CommandLineOption<ID>) {
        add("--", option.long)
        if let value = option.value { add("=", value) }
    }
}
