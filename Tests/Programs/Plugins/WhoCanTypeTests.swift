import Foundation
import Glibc
import TestSupport
import Testing

/// docs/WHO-CAN-TYPE.md: our programs on a machine of their own, with stand-ins for Plymouth. In each situation a person
/// types a password at a terminal in the end, and plugin-runner(8mandos) prints it.
@Suite(.needsRoot) struct `Somebody can type` {
    /// A root file system with plugins, in which plugin-runner runs at a terminal.
    private struct Machine {
        private static let keys = Task { try await Keys.make() }

        let terminal: Terminal
        let runner: RunningProgram
        /// The machine's `/lab`.
        let lab: TemporaryDirectory
        private let directory: TemporaryDirectory
        private let programs: TemporaryDirectory

        /// The shell commands of `preparation` run before plugin-runner; `$new` is the machine's root directory.
        ///
        /// `plugins` are programs of ours, and `scripts` plugins that are shell scripts. A mandos-client has keys if it
        /// `hasKeys`, and never reaches a server.
        init(
            plugins: [String], scripts: [String: String] = [:], hasKeys: Bool = true, options: [String] = [],
            preparation: String = ""
        ) async throws {
            let keys = try await Self.keys.value.directory
            terminal = try Terminal()
            lab = try TemporaryDirectory()
            directory = try TemporaryDirectory()
            programs = try TemporaryDirectory()
            try lab.setMode(0o777)
            for (name, body) in scripts { try programs.writeScript(body + "\n", to: name) }
            let script = """
                \(rootOfItsOwn)
                \(shellWaiting)
                mknod -m 666 $new/dev/tty c 5 0
                plugins=$new/usr/lib/mandos/plugins.d
                mkdir -p $plugins $new/lab $new/keys
                mount --bind "$3" $new/lab
                rm -rf $new/usr/lib/cryptsetup
                mkdir -m 755 $new/usr/lib/cryptsetup
                cp "$2"/* $plugins 2>/dev/null || true
                runner=$4
                \(hasKeys ? "cp \"$5\"/* $new/keys; chmod -R a+rX $new/keys" : "")
                shift 5
                chmod 755 $new $plugins
                for program; do
                    cp "$program" $plugins
                    case $program in */password-prompt) ;; *) chmod 4755 $plugins/${program##*/} ;; esac
                done
                cp "$runner" $new/usr/lib/mandos/plugin-runner
                ip link set lo up
                \(preparation)
                env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $new /usr/lib/mandos/plugin-runner --debug \\
                    --plugin-dir=/usr/lib/mandos/plugins.d --config-file=/nonexistent \\
                    --options-for=mandos-client:\(Self.clientOptions) \(options.joined(separator: " "))
                """
            runner = try RunningProgram(
                "/usr/bin/unshare",
                ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script, "sh"]
                    + [directory.path, programs.path, lab.path, Place.program("plugin-runner"), keys.path]
                    + plugins.map { $0.hasPrefix("/") ? $0 : Place.program($0) },
                terminal: terminal)
        }

        private static var clientOptions: String {
            (Keys.options(in: "/keys") + ["--interface=none", "--connect=127.0.0.1:1", "--retry=1"])
                .joined(separator: ",")
        }

        /// Types a password at plugin-runner's own prompt, while `plugins` still run.
        func typesAtPrompt(beside plugins: [String] = []) async throws {
            _ = try await terminal.shows("Password: ")
            for plugin in plugins {
                #expect(runner.errors.contains("plugin \(plugin) started"), "\(runner.errors)")
                for end in ["failed", "succeeded"] {
                    #expect(!runner.errors.contains("plugin \(plugin) \(end)"), "\(runner.errors)")
                }
            }
            try await types()
        }

        /// Types a password, which becomes the result.
        func types() async throws {
            try await waitUntil("a terminal without echo", details: { runner.errors }) { !terminal.echoes }
            try terminal.type("typed password\n")
            #expect(try await runner.ending() == .exit(status: 0), "\(runner.errors)")
            #expect(runner.output == Data("typed password".utf8))
            #expect(terminal.echoes)
        }

        /// Whether `first` came before `second` on standard error.
        func says(_ first: String, before second: String) -> Bool {
            guard let one = runner.errors.range(of: first), let two = runner.errors.range(of: second) else {
                return false
            }
            return one.lowerBound < two.lowerBound
        }

        /// The processes with this name.
        func processes(_ name: String) -> [Int32] {
            func below(_ process: Int32) -> [Int32] {
                RunningProgram.children(of: process).flatMap { [$0] + below($0) }
            }
            return below(runner.processID).filter {
                FileManager.default.contents(atPath: "/proc/\($0)/comm") == Data((name + "\n").utf8)
            }
        }
    }

    /// Plymouth's programs. The daemon is known by the file that it runs.
    private static let plymouth = """
        mkdir -p $new/run/plymouth
        rm -f $new/usr/sbin/plymouthd $new/usr/bin/plymouth
        cp /bin/sleep $new/usr/sbin/plymouthd
        printf '%s\\n' '#!/bin/sh' 'case $1 in' \\
            '--ping) [ -e /run/plymouth/is-up ] ;;' \\
            'ask-for-password) : >/lab/asked; while kill -0 $(cat /run/plymouth/is-up); do sleep 0.02; done; exit 1 ;;' \\
            'show-splash) : >/lab/shown ;;' esac >$new/usr/bin/plymouth
        chmod 755 $new/usr/bin/plymouth

        """

    @Test func `where no plugin asks`() async throws {
        let machine = try await Machine(plugins: ["askpass-fifo", "mandos-client"])
        try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
    }

    @Test func `where the client has no keys, and another plugin waits`() async throws {
        let machine = try await Machine(plugins: ["askpass-fifo", "mandos-client"], hasKeys: false)
        try await machine.typesAtPrompt(beside: ["askpass-fifo"])
    }

    @Test func `when the prompt fails at once`() async throws {
        let machine = try await Machine(
            plugins: ["askpass-fifo", "mandos-client", "password-prompt"],
            options: ["--options-for=password-prompt:--nonsense"])
        try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
        #expect(machine.runner.errors.contains("plugin password-prompt failed with exit status 64"))
    }

    @Test func `when only the client and askpass-fifo are left, since the prompt was killed`() async throws {
        let machine = try await Machine(plugins: ["askpass-fifo", "mandos-client", "password-prompt"])
        _ = try await machine.runner.line(with: "Enter passphrase")
        try await waitUntil("a terminal without echo") { !machine.terminal.echoes }
        #expect(!machine.runner.errors.contains("(console)"))
        // It must not become a part of what is typed at the next prompt.
        try machine.terminal.type("half")
        try await Task.sleep(for: .milliseconds(500))
        for process in machine.processes("password-prompt") { kill(process, SIGKILL) }
        try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
    }

    @Test func `after a mistake at our own prompt, and after its end`() async throws {
        let machine = try await Machine(plugins: ["mandos-client"])
        _ = try await machine.terminal.shows("Password: ")
        for _ in 0..<4200 { try machine.terminal.type("x") }
        try machine.terminal.type("\n")
        _ = try await machine.terminal.shows("Password: ")
        let runner = try #require(machine.processes("plugin-runner").first)
        let prompts = machine.processes("plugin-runner").filter { $0 != runner }
        #expect(prompts.count == 1)
        for prompt in prompts { kill(prompt, SIGKILL) }
        try await machine.typesAtPrompt(beside: ["mandos-client"])
    }

    @Test func `where Plymouth has left its PID file behind`() async throws {
        let machine = try await Machine(
            plugins: ["mandos-client", "password-prompt", "plymouth"],
            preparation: Self.plymouth + "echo 99999 >$new/run/plymouth/pid")
        try await machine.typesAtPrompt(beside: ["mandos-client"])
        for plugin in ["password-prompt", "plymouth"] {
            #expect(machine.says("plugin \(plugin) failed with exit status 69", before: "plugin (console) started"))
        }
    }

    @Test func `when Plymouth dies while it asks`() async throws {
        let machine = try await Machine(
            plugins: ["askpass-fifo", "mandos-client", "password-prompt", "plymouth"],
            preparation: Self.plymouth + """
                chroot $new /usr/sbin/plymouthd 1000 &
                daemon=$!
                echo $daemon >$new/run/plymouth/is-up
                { eventually test -e $new/lab/asked; sleep 0.5; kill -KILL $daemon; } &
                """)
        try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
        #expect(machine.lab.contains("asked"))
        #expect(machine.says("plugin plymouth failed", before: "plugin (console) started"))
    }

    /// A client of Plymouth whose daemon was killed may not notice.
    @Test func `when Plymouth dies while it asks, and its client hangs`() async throws {
        let machine = try await Machine(
            plugins: ["askpass-fifo", "mandos-client", "password-prompt", "plymouth"],
            preparation: Self.plymouth.replacing(
                "while kill -0 $(cat /run/plymouth/is-up); do sleep 0.02; done", with: "exec sleep 1000") + """
                    chroot $new /usr/sbin/plymouthd 1000 &
                    daemon=$!
                    echo $daemon >$new/run/plymouth/is-up
                    { eventually test -e $new/lab/asked; sleep 0.5; kill -KILL $daemon; } &
                    """)
        try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
        #expect(machine.lab.contains("asked"))
        #expect(machine.says("plugin plymouth failed", before: "plugin (console) started"))
    }

    @Test(arguments: [true, false]) func `where there is no /proc`(isStale: Bool) async throws {
        let machine = try await Machine(
            plugins: ["askpass-fifo", "mandos-client", "password-prompt", "plymouth"],
            preparation: Self.plymouth + """
                \(isStale ? "echo 99999 >$new/run/plymouth/pid; echo 1 >$new/run/plymouth/is-up" : "")
                umount $new/proc
                """)
        if isStale {
            try await machine.typesAtPrompt(beside: ["askpass-fifo", "mandos-client"])
        } else {
            _ = try await machine.runner.line(with: "password-prompt: Enter passphrase")
            try await machine.types()
            #expect(!machine.runner.errors.contains("(console)"))
        }
    }

    @Test(arguments: [
        "trap '' TERM; while :; do sleep 1; done", "echo asks >&$MANDOSPLUGINROLEFD; echo waits >&3; exec sleep 1000",
        "yes 'no role at all' >&3; exec sleep 1000", "printf asks >&3; exec sleep 1000",
        "printf '\\0\\377asks\\n' >&3; exec 3>&- sleep 1000",
        // Half a minute later: it might still have asked.
        "echo will-ask >&3; exec sleep 1000", "while :; do echo will-ask >&3; sleep 1; done",
    ])
    func `beside a plugin that hangs`(body: String) async throws {
        let machine = try await Machine(plugins: ["mandos-client"], scripts: ["hangs": body])
        try await machine.typesAtPrompt(beside: ["hangs", "mandos-client"])
    }

    @Test func `after a plugin that has said that it asks has failed`() async throws {
        let machine = try await Machine(
            plugins: ["mandos-client"],
            scripts: [
                "other":
                    "echo asks >&$MANDOSPLUGINROLEFD; echo ready >&2; until [ -e /lab/go ]; do sleep 0.02; done; exit 1"
            ])
        _ = try await machine.runner.line(with: "other: ready")
        // Longer than a plugin that has said nothing is waited for.
        try await Task.sleep(for: .seconds(4))
        #expect(!machine.runner.errors.contains("(console)"))
        try machine.lab.write("", to: "go")
        try await machine.typesAtPrompt(beside: ["mandos-client"])
    }

    @Test func `while a plugin that asks rests`() async throws {
        let machine = try await Machine(
            plugins: ["mandos-client"],
            scripts: ["other": "echo asks >&3; [ -e /lab/tried ] && exec sleep 1000; : >/lab/tried; exit 75"])
        try await machine.typesAtPrompt(beside: ["mandos-client"])
        #expect(machine.says("plugin other will be started again", before: "plugin (console) started"))
    }

    @Test(.needsReference) func `at the reference's prompt, alone`() async throws {
        let directory = try #require(
            try FileManager.default.contentsOfDirectory(atPath: Reference.root + "/usr/lib").map {
                "\(Reference.root)/usr/lib/\($0)/mandos/plugins.d"
            }.first { FileManager.default.fileExists(atPath: $0 + "/password-prompt") })
        let machine = try await Machine(plugins: ["askpass-fifo", "mandos-client", directory + "/password-prompt"])
        _ = try await machine.runner.line(with: "Enter passphrase")
        try await machine.types()
        #expect(!machine.runner.errors.contains("(console)"))
    }

    /// The part of the client that reads from the network could otherwise say that it asks.
    @Test func `whatever becomes of the client: it keeps nothing by which it could declare another role`() async throws
    {
        let machine = try await Machine(
            plugins: ["mandos-client"],
            preparation: """
                mkdir -p $new/usr/lib/mandos/network-hooks.d
                printf '%s\\n' '#!/bin/sh' 'ls /proc/$$/fd >/lab/fds; env >/lab/new; mv /lab/new /lab/environment' \\
                    >$new/usr/lib/mandos/network-hooks.d/hook
                chmod 755 $new/usr/lib/mandos/network-hooks.d/hook
                """)
        try await waitUntil("the hook", details: { machine.runner.errors }) { machine.lab.contains("environment") }
        _ = try await machine.terminal.shows("Password: ")
        let environment = String(decoding: machine.lab.contents(of: "environment") ?? Data(), as: UTF8.self)
        #expect(environment.contains("MODE=start") && !environment.contains("ROLEFD"), "\(environment)")
        let runner = try #require(machine.processes("plugin-runner").first)
        let clients = machine.processes("mandos-client")
        #expect(!clients.isEmpty)
        func pipes(_ process: Int32, from first: Int) -> Set<String> {
            let directory = "/proc/\(process)/fd"
            let numbers = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
            return Set(
                numbers.filter { Int($0).map { $0 >= first } ?? false }.compactMap {
                    try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + $0)
                }.filter { $0.hasPrefix("pipe:") })
        }
        for client in clients { #expect(pipes(client, from: 3).isDisjoint(with: pipes(runner, from: 0))) }
        try await machine.types()
    }

    /// It restores the screen in another process, which must not go on in the booted system.
    @Test func `and a splash screen that hardly ends is restored before the boot goes on`() async throws {
        let machine = try await Machine(
            plugins: ["plymouth"],
            scripts: ["wins": "until [ -e /lab/asked ]; do sleep 0.02; done; printf 'typed password'"],
            preparation: Self.plymouth + """
                cp /bin/sh $new/usr/sbin/plymouthd
                printf '%s\\n' "trap '' TERM" 'echo up >>/lab/starts' 'while :; do sleep 0.1; done' >$new/daemon
                chroot $new /usr/sbin/plymouthd /daemon &
                echo $! >$new/run/plymouth/is-up
                eventually test -e $new/lab/starts
                """)
        #expect(try await machine.runner.ending() == .exit(status: 0), "\(machine.runner.errors)")
        #expect(machine.runner.output == Data("typed password".utf8))
        #expect(machine.lab.contents(of: "starts") == Data("up\nup\n".utf8), "\(machine.runner.errors)")
        #expect(machine.lab.contains("shown"))
    }
}
