import Foundation
import Glibc
import TestSupport
import Testing

@Suite(.needsRoot) struct `password-prompt` {
    /// Starts the prompt where it sees no other process, since another test may run one that is called plymouthd.
    ///
    /// `script` runs `"$0" "$@"`, which is our program and its options.
    private func start(
        _ options: [String] = [], script: String = #"exec "$0" "$@""#, environment: [String: String] = [:],
        input: Data = Data(), terminal: Terminal? = nil
    ) throws -> RunningProgram {
        // The dynamic linker finds the program's directory by /proc/self/exe.
        let hideProcesses = #"mount -t tmpfs tmpfs /proc && mkdir /proc/self && ln -s "$0" /proc/self/exe || exit 9; "#
        return try RunningProgram(
            "/usr/bin/unshare",
            ["--mount", "/bin/sh", "-c", hideProcesses + script, Place.program("password-prompt")] + options,
            environment: environment, input: input, terminal: terminal)
    }

    private func run(
        _ options: [String] = [], script: String = #"exec "$0" "$@""#, environment: [String: String] = [:],
        input: Data
    ) async throws -> (status: Int32, output: Data, errors: String) {
        let program = try start(options, script: script, environment: environment, input: input)
        guard case .exit(let status) = try await program.ending() else {
            throw TookTooLong(goal: "an exit, but a signal", details: program.errors)
        }
        return (status, program.output, program.errors)
    }

    private static let standardPrompt = "Enter passphrase to unlock the disk: "

    /// Seen with Mandos 1.8.16, but for the last line's end, which only a terminal gets here.
    @Test(
        arguments: [
            ([], [:], standardPrompt),
            (["--prefix=host:"], [:], "host: " + standardPrompt),
            (["-p", "host:", "--prompt", "Foo?"], [:], "host: Foo?: "),
            (["--prompt=Foo"], ["CRYPTTAB_SOURCE": "/dev/sda1", "CRYPTTAB_NAME": "root"], "Foo: "),
            (["--prompt="], [:], ": "),
            (["--prefix="], [:], " " + standardPrompt),
            (
                [], ["CRYPTTAB_SOURCE": "/dev/sda1", "CRYPTTAB_NAME": "root"],
                "Unlocking the disk /dev/sda1 (root)\nEnter passphrase: "
            ),
            (
                ["-p", "host:"], ["CRYPTTAB_SOURCE": "/dev/sda1", "CRYPTTAB_NAME": "root"],
                "host: Unlocking the disk /dev/sda1 (root)\nEnter passphrase: "
            ),
            ([], ["CRYPTTAB_SOURCE": "/dev/sda1"], "Unlocking the disk /dev/sda1\nEnter passphrase: "),
            ([], ["CRYPTTAB_NAME": "root"], "Unlocking the disk (root)\nEnter passphrase: "),
            ([], ["CRYPTTAB_NAME": "", "CRYPTTAB_SOURCE": ""], "Unlocking the disk  ()\nEnter passphrase: "),
            (
                [], ["cryptsource": "/dev/sda1", "crypttarget": "root"],
                "Unlocking the disk /dev/sda1 (root)\nEnter passphrase: "
            ),
            (
                [], ["cryptsource": "/dev/sda1", "CRYPTTAB_SOURCE": "/dev/b"],
                "Unlocking the disk /dev/b\nEnter passphrase: "
            ),
        ] as [([String], [String: String], String)])
    func `asks for the disk that the environment names, or what it is told`(
        options: [String], environment: [String: String], prompt: String
    ) async throws {
        let result = try await run(options, environment: environment, input: Data("secret\n".utf8))
        #expect(result.status == 0)
        #expect(result.errors == prompt)
        #expect(result.output == Data("secret".utf8))
    }

    @Test func `shows nothing of what is typed, and restores the terminal`() async throws {
        let terminal = try Terminal()
        let prompt = try start(terminal: terminal)
        _ = try await prompt.line(with: Self.standardPrompt)
        #expect(!terminal.echoes)
        try terminal.type("pass ")
        try await Task.sleep(for: .milliseconds(100))
        try terminal.type("wörd\n")
        #expect(try await prompt.ending() == .exit(status: 0))
        #expect(terminal.echoes)
        #expect(prompt.output == Data("pass wörd".utf8))
        #expect(prompt.errors == Self.standardPrompt + "\n")
        try terminal.type("shown")
        #expect(try await terminal.shows("shown") == "shown")
    }

    @Test(arguments: [
        SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGXCPU,
        SIGXFSZ,
        SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, 16, 34, 64,
    ])
    func `restores the terminal and dies of the signal that stops it`(signal: Int32) async throws {
        let terminal = try Terminal()
        // In the initramfs there is no Swift runtime that takes care of crashes.
        let prompt = try start(environment: ["SWIFT_BACKTRACE": "enable=no"], terminal: terminal)
        _ = try await prompt.line(with: Self.standardPrompt)
        #expect(!terminal.echoes)
        try terminal.type("half a passw")
        prompt.signal(signal)
        #expect(try await prompt.ending() == .signal(signal))
        #expect(terminal.echoes)
        #expect(prompt.output.isEmpty)
    }

    @Test(arguments: [("\u{3}", SIGINT), ("\u{1C}", SIGQUIT)])
    func `can be interrupted from the keyboard`(key: String, signal: Int32) async throws {
        let terminal = try Terminal()
        let prompt = try start(terminal: terminal)
        _ = try await prompt.line(with: Self.standardPrompt)
        try terminal.type("abc" + key)
        #expect(try await prompt.ending() == .signal(signal))
        #expect(terminal.echoes)
        #expect(prompt.output.isEmpty)
    }

    /// It would be the beginning of the login name, on the screen and in the logs.
    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGSEGV, SIGUSR1])
    func `leaves nothing of what was half typed to the next reader when it is ended`(signal: Int32) async throws {
        let terminal = try Terminal()
        let shell = try start(
            script: Self.promptAndNextReader, environment: ["SWIFT_BACKTRACE": "enable=no"], terminal: terminal)
        _ = try await shell.line(with: Self.standardPrompt)
        let processID = try #require(shell.errors.split(separator: "\n").first.flatMap { pid_t($0) })
        try await waitUntil("a terminal without echo") { !terminal.echoes }
        try terminal.type("half-typed-secret")
        // The kernel passes it to the terminal's reader in its own time.
        try await Task.sleep(for: .milliseconds(500))
        kill(processID, signal)
        _ = try await shell.line(with: "next reader")
        try terminal.type("root\n")
        #expect(try await shell.ending() == .exit(status: 0), "\(shell.errors)")
        #expect(shell.output == Data("root\n".utf8))
    }

    /// It may be the password of the next disk.
    @Test func `keeps what was typed after the line for the next prompt`() async throws {
        let terminal = try Terminal()
        let shell = try start(script: Self.promptAndNextReader, terminal: terminal)
        _ = try await shell.line(with: Self.standardPrompt)
        try await waitUntil("a terminal without echo") { !terminal.echoes }
        try terminal.type("one\ntwo\n")
        #expect(try await shell.ending() == .exit(status: 0), "\(shell.errors)")
        #expect(shell.output == Data("onetwo\n".utf8))
    }

    /// Starts our program, says its process ID, and reads a line from the same terminal after its end.
    private static let promptAndNextReader = """
        exec 3<&0
        env --default-signal "$0" <&3 & echo $! >&2
        wait $!
        echo next reader >&2
        head -n 1 <&3
        """

    /// A shell at the same console does that, or cryptsetup's askpass.
    @Test func `is not held up by another program that reads what is typed`() async throws {
        let terminal = try Terminal()
        // The line wakes all readers; the second one must not wait for another line.
        let script = """
            exec 3<&0
            for number in 1 2 3 4 5 6 7 8; do
                head -n 1 <&3 >/dev/null & pids="$pids $!"
            done
            "$0" "$@" <&3 & echo $! >&2
            wait $!; status=$?
            kill $pids 2>/dev/null
            exit $status
            """
        let shell = try start(script: script, terminal: terminal)
        _ = try await shell.line(with: Self.standardPrompt)
        let processID = try #require(shell.errors.split(separator: "\n").first.flatMap { pid_t($0) })
        for _ in 0..<8 {
            try terminal.type("line\n")
            try await Task.sleep(for: .milliseconds(20))
        }
        // Either it has read one of them, or it waits for one and can be ended.
        kill(processID, SIGTERM)
        #expect([.exit(status: 0), .exit(status: 143)].contains(try await shell.ending()), "\(shell.errors)")
        #expect(terminal.echoes)
    }

    @Test func `asks again after Ctrl-D alone, and takes what comes before Ctrl-D as part of the line`() async throws {
        let terminal = try Terminal()
        let prompt = try start(terminal: terminal)
        _ = try await prompt.line(with: Self.standardPrompt)
        try terminal.type("\u{4}")
        try await waitUntil("the prompt again", details: { prompt.errors }) {
            prompt.errors == Self.standardPrompt + "\n" + Self.standardPrompt
        }
        try terminal.type("abc\u{4}")
        try await Task.sleep(for: .milliseconds(100))
        try terminal.type("def\n")
        #expect(try await prompt.ending() == .exit(status: 0))
        #expect(prompt.output == Data("abcdef".utf8))
    }

    @Test func `ends when its terminal is hung up`() async throws {
        let prompt: RunningProgram
        do {
            let terminal = try Terminal()
            prompt = try start(terminal: terminal)
            _ = try await prompt.line(with: Self.standardPrompt)
        }
        // It hears of that as a signal and as an end of its input, in either order.
        #expect([.signal(SIGHUP), .exit(status: 66), .exit(status: 69)].contains(try await prompt.ending()))
        #expect(prompt.output.isEmpty)
    }

    @Test func `refuses a line that the terminal may have cut off`() async throws {
        for (length, ending) in [(4094, RunningProgram.Ending.exit(status: 0)), (4200, .exit(status: 65))] {
            let terminal = try Terminal()
            let prompt = try start(terminal: terminal)
            _ = try await prompt.line(with: Self.standardPrompt)
            for _ in 0..<length { try terminal.type("x") }
            try terminal.type("\n")
            #expect(try await prompt.ending() == ending, "\(length): \(prompt.errors)")
            #expect(prompt.output.count == (length == 4094 ? length : 0))
            #expect(terminal.echoes)
        }
    }

    @Test func `gives back every byte, without the end of the line`() async throws {
        let all = Data((0...255).filter { $0 != 10 })
        let long = Data(repeating: UInt8(ascii: "x"), count: 1 << 20)
        for password in [all, long, Data("  two at both ends \t".utf8), Data()] {
            let result = try await run(input: password + Data("\nnext line\n".utf8))
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output == password)
        }
        let withoutEnd = try await run(input: Data("abc".utf8))
        #expect(withoutEnd.status == 0)
        #expect(withoutEnd.output == Data("abc".utf8))
    }

    @Test func `leaves what comes after the line to others`() async throws {
        let result = try await run(
            script: #""$0" 2>/dev/null; cat"#, input: Data("first\nsecond\n".utf8))
        #expect(result.output == Data("firstsecond\n".utf8))
    }

    @Test func `fails when there is nothing, or too much`() async throws {
        let tooMuch = Data(repeating: UInt8(ascii: "x"), count: 1 << 20 + 1)
        for (input, status) in [(Data(), 66), (tooMuch + Data("\n".utf8), 65)] {
            let result = try await run(input: input)
            #expect(result.status == Int32(status))
            #expect(result.output.isEmpty)
            #expect(result.errors.contains("password-prompt: "))
        }
    }

    @Test(arguments: [
        (">/dev/full", 74, "No space left on device"), (">&-", 74, "Bad file descriptor"),
        ("<&-", 66, "standard input ended"), ("</", 69, "Is a directory"),
    ])
    func `fails when it cannot write all of it, or cannot read`(
        redirection: String, status: Int, message: String
    ) async throws {
        let result = try await run(
            script: #""$0" "# + redirection, input: Data("secret\n".utf8))
        #expect(result.status == Int32(status))
        #expect(result.errors.contains(message))
        #expect(result.output.isEmpty)
    }

    /// A stopped process would see no SIGTERM, and whoever waits for it would wait for ever.
    @Test func `fails at once in the background of a terminal`() async throws {
        let terminal = try Terminal()
        let shell = try start(script: #"set -m; "$0" & wait $!"#, terminal: terminal)
        #expect(try await shell.ending() == .exit(status: 69))
        #expect(shell.errors.contains("in the background"))
        #expect(terminal.echoes)
    }

    @Test(arguments: [["--nonsense"], ["operand"]])
    func `refuses a command line that makes no sense`(options: [String]) async throws {
        let result = try await run(options, input: Data("secret\n".utf8))
        #expect(result.status == 64)
        #expect(result.output.isEmpty)
    }

    /// What a person types must be read where the prompt is shown.
    @Test(arguments: [false, true])
    func `asks at the terminal where standard input is a silent pipe, but also reads that`(isPiped: Bool) async throws {
        let directory = try TemporaryDirectory()
        let pipe = directory.path + "/pipe"
        try #require(unsafe mkfifo(pipe, 0o600) == 0)
        let terminal = try Terminal()
        let prompt = try start([pipe], script: #"exec 4<>"$1" && exec "$0" <"$1""#, terminal: terminal)
        _ = try await terminal.shows(Self.standardPrompt)
        try await waitUntil("a terminal without echo") { !terminal.echoes }
        if isPiped {
            let written = try await TestSupport.run("/bin/sh", ["-c", "echo piped >\(pipe)"])
            #expect(written.status == 0)
        } else {
            try terminal.type("typed\n")
        }
        #expect(try await prompt.ending() == .exit(status: 0), "\(prompt.errors)")
        #expect(prompt.output == Data((isPiped ? "piped" : "typed").utf8))
        #expect(terminal.echoes)
    }

    @Test func `takes any password from a person who types ahead or whose console is stuck`() async throws {
        let terminal = try Terminal()
        try terminal.type("early\n")
        let prompt = try start(
            [withStuckErrors], script: #"exec /usr/bin/python3 -c "$1" "$0""#, terminal: terminal)
        #expect(try await prompt.ending() == .exit(status: 0), "\(prompt.errors)")
        #expect(prompt.output == Data("early".utf8))
    }
}

/// The prompt beside Plymouth, or beside a process that resembles it.
@Suite(.needsRoot) struct `password-prompt beside Plymouth` {
    @Test(arguments: [
        ("mkdir /run/plymouth; echo 1 >/run/plymouth/pid", false),
        ("mkdir /run/plymouth", true),
        ("cp /bin/sleep /run/plymouthd; /run/plymouthd 1000 &", false),
        // As systemd wants it of a program that it shall leave running.
        ("/usr/bin/python3 -c 'import os; os.execv(\"/bin/sleep\", [\"@usr/sbin/plymouthd\", \"1000\"])' &", false),
        ("/usr/bin/python3 -c 'import os; os.execv(\"/bin/sleep\", [\"notplymouthd\", \"1000\"])' &", true),
        ("", true),
    ])
    func `asks only if Plymouth is not there`(preparation: String, asks: Bool) async throws {
        let script = """
            set -e
            \(shellWaiting)
            mount -t tmpfs tmpfs /run
            \(preparation)
            has_become_itself() { readlink /proc/$!/exe | grep -E 'sleep$|plymouthd$' >/dev/null; }
            [ -z "$!" ] || eventually has_become_itself
            set +e
            echo secret | "$0" --debug
            """
        let result = try await runInNamespaces(script, [Place.program("password-prompt")])
        #expect(result.status == (asks ? 0 : 69), "\(result.errors)")
        #expect(result.output == Data((asks ? "secret" : "").utf8))
        #expect(result.errors.contains("Enter passphrase") == asks)
        #expect(result.errors.contains("not asking, since Plymouth does") == !asks)
    }
}
