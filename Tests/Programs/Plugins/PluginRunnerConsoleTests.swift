import Foundation
import Glibc
import TestSupport
import Testing

/// How plugin-runner(8mandos) asks at the console, and leaves it as it was.
@Suite struct `The plugin runner at the console` {
    private typealias Plugins = `The plugin runner`.Plugins

    @Test(
        // A plugin that does not end may still succeed.
        arguments: `The plugin runner`.bad.filter { !$0.0.contains("TERM") && !$0.0.contains("complains") })
    func `asks at the terminal when nothing is left but a plugin that misbehaves`(does: String, body: String)
        async throws
    {
        let plugins = try Plugins(["bad": body])
        let terminal = try Terminal()
        let runner = try plugins.run(terminal: terminal)
        let shown = try await terminal.shows("Password: ")
        #expect(!terminal.echoes)
        try terminal.type("pass wörd \n")
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("pass wörd ".utf8))
        #expect(!shown.contains("wörd"))
        #expect(terminal.echoes)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, nil])
    func `can be ended while it asks, also from the keyboard`(signal: Int32?) async throws {
        let plugins = try Plugins([:])
        let terminal = try Terminal()
        let runner = try plugins.run(terminal: terminal)
        _ = try await terminal.shows("Password: ")
        #expect(!terminal.echoes)
        if let signal { runner.signal(signal) } else { try terminal.type("abc\u{3}") }
        #expect(try await runner.ending() == .signal(signal ?? SIGINT))
        #expect(terminal.echoes)
        #expect(runner.output.isEmpty)
    }

    @Test(arguments: [true, false])
    func `asks while plugins rest, and takes what comes first`(isPerson: Bool) async throws {
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let plugins = try Plugins([
            "later": """
            echo try >>\(marks.path)/tries
            [ \(isPerson ? "" : "$(wc -l <\(marks.path)/tries) -ge 2") ] || exit 75
            printf plugin
            """
        ])
        let terminal = try Terminal()
        let runner = try plugins.run(terminal: terminal)
        _ = try await terminal.shows("Password: ")
        if isPerson { try terminal.type("person\n") }
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data((isPerson ? "person" : "plugin").utf8))
        #expect(terminal.echoes)
    }

    @Test func `takes the output of a process that a plugin has left behind, but is not misled by silence`()
        async throws
    {
        let late = try Plugins(["a": "(sleep 1; printf late) &"])
        let alone = try late.run()
        #expect(try await alone.ending() == .exit(status: 0), "\(alone.errors)")
        #expect(alone.output == Data("late".utf8))
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let silent = try Plugins(["a": "{ sleep 1; echo >\(marks.path)/over; } &"])
        let terminal = try Terminal()
        let runner = try silent.run(terminal: terminal)
        _ = try await terminal.shows("Password: ")
        try terminal.type("half")
        try await waitUntil("the mark of the plugin") { marks.contains("over") }
        try await Task.sleep(for: .milliseconds(200))
        try terminal.type(", all\n")
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("half, all".utf8))
    }

    /// The prompt may be ended, or killed.
    @Test(arguments: [nil, "stty -echo; : >MARKS/asks; until [ -e MARKS/go ]; do sleep 0.02; done; kill -KILL $$"])
    func `leaves nothing of what was half typed to the next reader when a plugin is faster`(prompt: String?)
        async throws
    {
        let scripts = ["a": "until [ -e MARKS/won ]; do sleep 0.02; done; printf secret"]
        let plugins = try Plugins(scripts.merging(prompt.map { ["password-prompt": $0] } ?? [:]) { $1 })
        let terminal = try Terminal()
        let shell = try RunningProgram(
            "/bin/sh",
            [
                "-c", #""$0" "$@"; echo next reader >&2; head -n 1"#, Place.program("plugin-runner"), "--debug",
                "--plugin-dir", plugins.path.path, "--config-file=/nonexistent",
            ], terminal: terminal)
        if prompt == nil { _ = try await terminal.shows("Password: ") }
        try await waitUntil("a terminal without echo", details: { shell.errors }) { !terminal.echoes }
        try terminal.type("half-typed-secret")
        // The kernel passes it to the terminal's reader in its own time.
        try await Task.sleep(for: .milliseconds(500))
        if prompt != nil {
            try plugins.marks.write("", to: "go")
            _ = try await shell.line(with: "plugin password-prompt failed with signal 9")
        }
        try plugins.marks.write("", to: "won")
        _ = try await shell.line(with: "next reader")
        try terminal.type("root\n")
        #expect(try await shell.ending() == .exit(status: 0), "\(shell.errors)")
        #expect(shell.output == Data("secretroot\n".utf8))
    }

    @Test func `leaves the terminal as it was, also if it is not to be ended`() async throws {
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let plugins = try Plugins([
            "a": "echo try >>\(marks.path)/tries; [ $(wc -l <\(marks.path)/tries) -ge 2 ] || exit 75; printf secret",
            // Hides what is typed, and is killed.
            "b": "stty -echo -icanon; kill -KILL $$",
        ])
        let terminal = try Terminal()
        let runner = try RunningProgram(
            "/bin/sh",
            [
                "-c", #"trap "" TERM; exec "$0" "$@""#, Place.program("plugin-runner"), "--plugin-dir",
                plugins.path.path,
                "--config-file=/nonexistent",
            ], terminal: terminal)
        _ = try await terminal.shows("Password: ")
        // The process that asks can be ended, since it does not ignore the signal with its parent.
        #expect(!runner.children.contains { RunningProgram.process($0, has: .ignored, for: SIGTERM) })
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("secret".utf8))
        #expect(terminal.echoes)
    }

    @Test(.needsRoot)
    func `asks by itself if there can be no process for that`() async throws {
        let user = freeUserID()
        let plugins = try Plugins(["a": "prlimit --pid $PPID --nproc=1:1; exit 75"])
        try plugins.path.setMode(0o755)
        let terminal = try Terminal()
        let runner = try RunningProgram(
            "/usr/bin/setpriv",
            [
                "--reuid=\(user)", "--regid=\(user)", "--clear-groups", Place.program("plugin-runner"), "--plugin-dir",
                plugins.path.path, "--config-file=/nonexistent",
            ], terminal: terminal)
        _ = try await terminal.shows("Password: ")
        try terminal.type("secret\n")
        #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
        #expect(runner.output == Data("secret".utf8))
        #expect(runner.errors.contains("starting a process: Resource temporarily unavailable"))
    }

    @Test(arguments: [true, false])
    func `goes on when its console is stuck while its plugins write to it`(isEnded: Bool) async throws {
        let marks = try TemporaryDirectory()
        try marks.setMode(0o777)
        let plugins = try Plugins([
            "says": "while :; do echo something; done >&2",
            "has": isEnded ? "echo >\(marks.path)/up; sleep 1000" : "sleep 0.3; printf secret",
        ])
        let runner = try RunningProgram(
            "/usr/bin/python3",
            [
                "-c", withStuckErrors, Place.program("plugin-runner"), "--debug", "--plugin-dir", plugins.path.path,
                "--config-file=/nonexistent",
            ])
        if isEnded {
            try await waitUntil("the mark of the plugin") { marks.contains("up") }
            try await Task.sleep(for: .milliseconds(500))
            runner.signal(SIGTERM)
        }
        #expect(try await runner.ending() == (isEnded ? .signal(SIGTERM) : .exit(status: 0)))
        #expect(runner.output == Data((isEnded ? "" : "secret").utf8))
    }

    @Test func `asks also when it understands nothing of its options`() async throws {
        let directory = try TemporaryDirectory()
        for contents in [
            Data("--nonsense 'unbalanced \"text --disable --global-env --env-for=x --options-for=\n--".utf8),
            Data([0x2D, 0x2D, 0x64, 0, 0x61, 0x0A] + Array("--userid=-1 --groupid=4294967296".utf8)),
            Data(repeating: 0x78, count: 70_000), Data("--env-for=a:\(String(repeating: "x", count: 65_536))=1".utf8),
        ] {
            let file = try directory.write(contents, to: "configuration")
            let terminal = try Terminal()
            let runner = try RunningProgram(
                Place.program("plugin-runner"),
                ["--plugin-dir=/nonexistent", "--config-file", file, "extra", "--unknown"], terminal: terminal)
            _ = try await terminal.shows("Password: ")
            try terminal.type("secret\n")
            #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
            #expect(runner.output == Data("secret".utf8))
            #expect(runner.errors.contains("extra"))
        }
    }

    @Test func `fails without a password when there is no terminal to ask at`() async throws {
        let result = try await run(
            Place.program("plugin-runner"), ["--plugin-dir=/nonexistent", "--config-file=/nonexistent"])
        #expect(result.status == 69)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains("/nonexistent: No such file or directory; there are no plugins"))
        // A process that a plugin has left behind may never print anything.
        let plugins = try Plugins(["a": "sleep 1000 &"])
        let runner = try plugins.run()
        #expect(try await runner.ending() == .exit(status: 69), "\(runner.errors)")
        #expect(runner.output.isEmpty)
    }
}
