import Foundation
import Glibc
import TestSupport
import Testing

/// Our programs at a terminal when the process that would end them is killed, and beside each other.
@Suite(.needsRoot) struct `Programs at a terminal` {
    private typealias Plugins = `The plugin runner`.Plugins

    /// The processes below `process`, and theirs.
    private func all(below process: Int32) -> [Int32] {
        RunningProgram.children(of: process).flatMap { [$0] + all(below: $0) }
    }

    /// A shell at a terminal, in which password-prompt sees no Plymouth of other tests.
    private func shell(_ script: String, _ arguments: [String], at terminal: Terminal) async throws
        -> (outer: RunningProgram, inner: Int32)
    {
        let outer = try RunningProgram(
            "/usr/bin/unshare",
            ["--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script] + arguments, terminal: terminal
        )
        try await waitUntil("the shell", details: { outer.errors }) { !outer.children.isEmpty }
        return (outer, try #require(outer.children.first))
    }

    private func hasEnded(_ process: Int32) -> Bool {
        let status = FileManager.default.contents(atPath: "/proc/\(process)/status") ?? Data()
        return status.isEmpty || String(decoding: status, as: UTF8.self).contains("State:\tZ")
    }

    /// plugin-runner with our plugins `programs`, in a shell at a terminal, which then reads a line.
    @Test(arguments: [["mandos-client"], ["password-prompt"], ["password-prompt", "mandos-client"]])
    func `end when plugin-runner is killed, and leave the terminal to others`(programs: [String]) async throws {
        let keys = try await Keys.make()
        let plugins = try Plugins([:])
        for program in programs {
            try FileManager.default.copyItem(atPath: Place.program(program), toPath: plugins.path.path + "/" + program)
        }
        let clientOptions = Keys.options(in: keys.directory.path) + ["--interface=none", "--connect=127.0.0.1:1"]
        let terminal = try Terminal()
        let (shell, inner) = try await shell(
            #""$0" "$@"; echo next reader >&2; head -n 1"#,
            [
                Place.program("plugin-runner"), "--plugin-dir", plugins.path.path, "--config-file=/nonexistent",
                "--userid=0", "--groupid=0",
                "--options-for=mandos-client:" + clientOptions.joined(separator: ","),
            ], at: terminal)
        try await waitUntil("a terminal without echo", details: { shell.errors }) { !terminal.echoes }
        let runner = try #require(RunningProgram.children(of: inner).first)
        if programs.contains("mandos-client") {
            // The client, its worker, and the process that keeps its privileges.
            try await waitUntil("the client's processes") { all(below: runner).count >= 4 }
        }
        let processes = all(below: runner)
        #expect(!processes.isEmpty)
        try terminal.type("half-typed")
        try await Task.sleep(for: .milliseconds(300))
        kill(runner, SIGKILL)
        _ = try await shell.line(with: "next reader")
        for process in processes { try await waitUntil("the end of \(process)") { hasEnded(process) } }
        #expect(terminal.echoes)
        try terminal.type("root\n")
        #expect(try await shell.ending() == .exit(status: 0), "\(shell.errors)")
        #expect(shell.output == Data("root\n".utf8))
    }

    /// Two disks that are unlocked at the same time; the prompts are those of plugin-runner, or of password-prompt.
    @Test(arguments: [false, true]) func `ask one after the other`(isPlugin: Bool) async throws {
        let directory = try TemporaryDirectory()
        // While it runs, plugin-runner asks in a process of its own.
        let plugins = try Plugins(["fetches": "echo fetches >&3; exec sleep 1000"])
        if isPlugin {
            let program = "password-prompt"
            try FileManager.default.copyItem(atPath: Place.program(program), toPath: plugins.path.path + "/" + program)
        }
        let terminal = try Terminal()
        let (shell, inner) = try await shell(
            """
            exec 3<&0
            "$0" "$@" <&3 >\(directory.path)/one &
            "$0" "$@" <&3 >\(directory.path)/two
            wait
            """,
            [
                Place.program("plugin-runner"), "--debug", "--plugin-dir", plugins.path.path,
                "--config-file=/nonexistent",
            ], at: terminal)
        try await shell.says("plugin \(isPlugin ? "password-prompt" : "(console)") started", times: 2)
        // Both would ask by then.
        try await Task.sleep(for: .milliseconds(1000))
        #expect(!terminal.echoes)
        func answers() -> [Data] { ["one", "two"].compactMap { directory.contents(of: $0) }.filter { !$0.isEmpty } }
        try terminal.type("first\n")
        try await waitUntil("an answer", details: { shell.errors }) { answers().count == 1 }
        // Until the first one has put the terminal in order, and the second one asks.
        try await waitUntil("the end of one", details: { shell.errors }) {
            RunningProgram.children(of: inner).count == 1
        }
        try await waitUntil("a terminal without echo", details: { shell.errors }) { !terminal.echoes }
        try terminal.type("second\n")
        #expect(try await shell.ending() == .exit(status: 0), "\(shell.errors)")
        #expect(Set(answers()) == [Data("first".utf8), Data("second".utf8)])
        #expect(terminal.echoes)
        try terminal.type("end")
        #expect(try await !terminal.shows("end").contains("second"))
    }
}
