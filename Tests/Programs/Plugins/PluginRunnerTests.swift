import Foundation
import Glibc
import TestSupport
import Testing

/// plugin-runner(8mandos).
@Suite struct `The plugin runner` {
    /// Plugins that are shell scripts.
    struct Plugins {
        let path: TemporaryDirectory

        /// Plugins can write here: they wait for each other's marks, since nobody knows how long anything takes.
        let marks: TemporaryDirectory

        /// In `plugins`, `MARKS` stands for the path of ``marks``.
        init(_ plugins: [String: String]) throws {
            path = try TemporaryDirectory()
            marks = try TemporaryDirectory()
            try marks.setMode(0o777)
            for (name, body) in plugins { try add(name, body) }
        }

        func add(_ name: String, _ body: String) throws {
            try path.writeScript(body.replacing("MARKS", with: marks.path) + "\n", to: name)
        }

        /// A shell command that waits until there are `count` marks.
        static func waitForMarks(_ count: Int) -> String {
            "while [ $(ls MARKS | wc -l) -lt \(count) ]; do sleep 0.02; done"
        }

        func run(
            _ options: [String] = [], environment: [String: String] = [:], terminal: Terminal? = nil
        ) throws -> RunningProgram {
            try RunningProgram(
                Place.program("plugin-runner"),
                ["--plugin-dir", path.path, "--config-file=/nonexistent"] + options, environment: environment,
                terminal: terminal)
        }
    }

    @Test func `gives each plugin its options and its environment`() async throws {
        let plugins = try Plugins([
            "a":
                #"{ for word; do echo "[$word]"; done; env | grep -E '^(V|W|X|MANDOSPLUGIN)' | sort; } >&2; : >MARKS/a; exit 1"#,
            "b": Plugins.waitForMarks(1) + #"; printf '%s' "$*""#, "c": "printf wrong",
        ])
        let file = try plugins.path.write(
            """
            # --disable=a --global-options=--commented
            --global-env=X=file --global-env=W=file\t--global-options=--all,,--two
               --options-for=a:--own=1,value --env-for=a:V=own --disable=b -dc --options-for=b:
            --options-for=b:#nothing
            --config-file=/somewhere --plugin-helper-dir=/help
            """, to: ".configuration")
        let runner = try RunningProgram(
            Place.program("plugin-runner"),
            [
                "--plugin-dir", plugins.path.path, "--config-file", file, "--enable=b", "-G", "W=line", "-g", "--last",
                "-E", "a:W=most own",
            ], environment: ["X": "inherited", "V": "inherited", "XY": "inherited"])
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(
            runner.errors == """
                [--own=1]
                [value]
                [--all]
                []
                [--two]
                [--last]
                MANDOSPLUGINHELPERDIR=/help
                MANDOSPLUGINROLEFD=3
                V=own
                W=most own
                X=file
                XY=inherited

                """)
        #expect(runner.output == Data("--all  --two --last".utf8))
    }

    @Test func `runs executable files whose names are not leftovers`() async throws {
        let plugins = try Plugins([:])
        let leftovers = [".hidden", "b~", "#c#", "c.dpkg-old", "c.dpkg-new", "c.dpkg-bak", "c.dpkg-dist"]
        let names = ["a", "b.sh", "c.bak", "sp ace", "é", "d.dpkg", "#e"]
        for name in leftovers + names {
            try plugins.add(name, "echo \"ran \(name)\" >&2; : >\"MARKS/\(name)\"; exit 1")
        }
        try plugins.add("z", Plugins.waitForMarks(names.count))
        try plugins.path.write("#!/bin/sh\necho ran not executable >&2\n", to: "not-executable")
        try plugins.path.addDirectory("folder")
        unsafe symlink("/nonexistent", plugins.path.path + "/dangling")
        unsafe mkfifo(plugins.path.path + "/fifo", 0o777)
        let runner = try plugins.run()
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(Set(runner.errors.split(separator: "\n")) == Set(names.map { Substring("ran \($0)") }))
    }

    @Test func `prints what the first success printed, whole, and ends the others`() async throws {
        let plugins = try Plugins([
            "fails": "printf 'not this'; exit 1",
            "waits": "trap 'echo ended >MARKS/waits; exit 0' TERM; : >MARKS/ready; while :; do sleep 0.05; done",
            "wins": Plugins.waitForMarks(1) + "; i=0; while [ $i -lt 3000 ]; do printf '%0100d' $i; i=$((i + 1)); done",
        ])
        let runner = try plugins.run()
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        let expected = (0..<3000).map { String(repeating: "0", count: 100 - "\($0)".count) + "\($0)" }.joined()
        #expect(runner.output == Data(expected.utf8))
        #expect(plugins.marks.contents(of: "waits") == Data("ended\n".utf8))
    }

    @Test func `leaves nothing behind of what its plugins have started`() async throws {
        let plugins = try Plugins([
            "starts":
                "sleep 1000 & echo $! >MARKS/child; setsid sleep 1000 >&- & echo $! >MARKS/daemon; : >MARKS/all; wait",
            "wins": Plugins.waitForMarks(3) + "; printf secret",
        ])
        let runner = try plugins.run()
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        for name in ["child", "daemon"] {
            let text = String(decoding: plugins.marks.contents(of: name) ?? Data(), as: UTF8.self)
            let process = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
            #expect(kill(process, 0) < 0, "\(name)")
            kill(process, SIGKILL)
        }
    }

    /// Plugins that misbehave: a description, and the script.
    static let bad: [(String, String)] = [
        ("prints 100 MiB", "exec head -c 104857600 /dev/zero"),
        ("prints without end", "exec yes"),
        ("closes its output early", "exec >&-; sleep 0.2; exit 1"),
        ("leaves a process behind, and fails", "sleep 1000 & exit 1"),
        ("leaves a process behind, and says nothing", "sleep 1000 &"),
        ("does not listen to TERM", "trap '' TERM; printf no; sleep 1000"),
        ("is killed", "kill -KILL $$"),
        ("cannot be run", "x\u{0}"),
        ("complains without end", "yes >&2; exit 1"),
    ]

    @Test(arguments: bad) func `is not kept from a password by a plugin that misbehaves`(does: String, body: String)
        async throws
    {
        let plugins = try Plugins(["a-bad": body, "good": "sleep 0.3; printf secret"])
        if does == "cannot be run" { try plugins.path.write("#!/nonexistent\n", to: "a-bad") }
        let terminal = try Terminal()
        let runner = try plugins.run(does.hasPrefix("complains") ? ["--debug"] : [], terminal: terminal)
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors.prefix(500))")
        #expect(runner.output == Data("secret".utf8))
    }

    @Test func `passes on all that its plugins say`() async throws {
        let plugins = try Plugins(["a": "yes | head -c 300000 >&2; printf secret"])
        let runner = try plugins.run(["--debug"])
        #expect(try await runner.ending() == .exit(status: 0))
        #expect(
            runner.errors.utf8.split(separator: UInt8(ascii: "\n")).count { $0.elementsEqual("a: y".utf8) } == 150_000)
    }

    @Test func `is not held up by a configuration file that is none, nor by an empty argument`() async throws {
        let plugins = try Plugins(["a": "printf secret"])
        let fifo = plugins.path.path + "/.fifo"
        unsafe mkfifo(fifo, 0o600)
        let runner = try RunningProgram(
            Place.program("plugin-runner"), ["--plugin-dir", plugins.path.path, "--config-file", fifo, ""])
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("secret".utf8))
        #expect(runner.errors == "plugin-runner: \(fifo) is no file: Invalid argument; its options are not used\n")
    }

    @Test func `starts a plugin again that asks for it`() async throws {
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let plugins = try Plugins([
            "later": "echo try >>\(marks.path)/tries; [ $(wc -l <\(marks.path)/tries) -ge 3 ] || exit 75; printf secret"
        ])
        let begin = ContinuousClock.now
        let runner = try plugins.run(["--debug"])
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("secret".utf8))
        // One second, then two.
        #expect(ContinuousClock.now - begin >= .seconds(3))
        #expect(runner.errors.contains("plugin later will be started again in 2 s"))
    }

    @Test func `says in debug mode which plugin has written which line`() async throws {
        let plugins = try Plugins([
            "a": "echo one >&2; printf 'prompt: ' >&2; echo $$ >MARKS/.a; mv MARKS/.a MARKS/a; "
                + "\(Plugins.waitForMarks(2)); exit 1",
            // Until the runner has collected the other one's exit status, that has its process ID.
            "b": "\(Plugins.waitForMarks(1)); printf 'two\\nthree\\n' >&2; : >MARKS/b;"
                + " while kill -0 $(cat MARKS/a) 2>/dev/null; do sleep 0.02; done",
        ])
        let runner = try plugins.run(["--debug"])
        #expect(try await runner.ending() == .exit(status: 0))
        for lines in ["a: one\na: prompt: \n", "b: two\nb: three\n"] {
            #expect(runner.errors.contains(lines), "\(runner.errors)")
        }
        #expect(runner.errors.contains("plugin-runner: plugin a failed with exit status 1\n"))
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT]) func `ends its plugins with itself`(signal: Int32) async throws
    {
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let plugins = try Plugins([
            "a": "trap 'echo ended >\(marks.path)/a; exit 0' TERM; echo here >&2; while :; do sleep 0.05; done"
        ])
        let runner = try plugins.run()
        _ = try await runner.line(with: "here")
        runner.signal(signal)
        #expect(try await runner.ending() == .signal(signal))
        #expect(marks.contents(of: "a") == Data("ended\n".utf8))
        #expect(runner.output.isEmpty)
    }

    @Test func `costs nothing while it waits`() async throws {
        let plugins = try Plugins(
            Dictionary(uniqueKeysWithValues: (0..<6).map { ("p\($0)", "echo up >&2; exec sleep 1000") }))
        let runner = try plugins.run()
        try await runner.says("up\n", times: 6)
        func ticks() throws -> Int {
            let status = try String(contentsOfFile: "/proc/\(runner.processID)/stat", encoding: .utf8)
            let fields = status.split(separator: " ")
            return try #require(Int(fields[13])) + #require(Int(fields[14]))
        }
        // It may still be busy with what they have said.
        try await waitUntil("two seconds of rest") {
            let before = try ticks()
            try await Task.sleep(for: .seconds(2))
            return try ticks() == before
        }
        runner.signal(SIGTERM)
        _ = try await runner.ending()
    }

    @Test(.needsRoot)
    func `runs its plugins as an unprivileged user, from a directory that only root can read`() async throws {
        let plugins = try Plugins(["a": "printf '%s ' $(id -ru) $(id -u) $(id -rg) $(id -g) $(id -G)"])
        let runner = try plugins.run()
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("65534 65534 65534 65534 65534 ".utf8))
        let other = try plugins.run(["--userid=12345", "--groupid=12346"])
        #expect(try await other.ending() == .exit(status: 0), "\(other.errors)")
        #expect(other.output == Data("12345 12345 12346 12346 12346 ".utf8))
    }

    @Test(.needsReference, .needsRoot)
    func `gets on with the reference's plugins, and the reference with ours`() async throws {
        let ours = Place.program("plugin-runner")
        let theirs = try #require(
            try FileManager.default.contentsOfDirectory(atPath: Reference.root + "/usr/lib").map {
                "\(Reference.root)/usr/lib/\($0)/mandos"
            }.first { FileManager.default.fileExists(atPath: $0 + "/plugin-runner") })
        for (runner, prompt) in [
            (ours, theirs + "/plugins.d/password-prompt"),
            (theirs + "/plugin-runner", Place.program("password-prompt")),
        ] {
            let directory = try TemporaryDirectory()
            try FileManager.default.copyItem(atPath: prompt, toPath: directory.path + "/prompt")
            waitUntilRunnable(directory.path + "/prompt")
            // The reference reads it as the user that it has become.
            try directory.setMode(0o755)
            let terminal = try Terminal()
            // A prompt does not ask if it sees Plymouth, as another test may have it.
            let program = try RunningProgram(
                "/usr/bin/unshare",
                [
                    "--pid", "--fork", "--kill-child", "--mount-proc", runner, "--plugin-dir", directory.path,
                    "--config-file=/nonexistent", "-o", "prompt:--prefix=here",
                ], terminal: terminal)
            _ = try await program.line(with: "here")
            // It may only now turn the echo off.
            try await waitUntil("a terminal without echo") { !terminal.echoes }
            try terminal.type("secret\n")
            #expect(try await program.ending() == .exit(status: 0), "\(program.errors)")
            #expect(program.output == Data("secret".utf8))
        }
    }
}
