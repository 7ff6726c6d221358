import Foundation
import TestSupport
import Testing

/// plugin-runner(8mandos) as a keyscript, which cryptsetup's scripts run again when the volume has refused the password.
@Suite(.needsRoot) struct `The plugin runner as a keyscript` {
    private typealias Plugins = `The plugin runner`.Plugins

    /// `ask VOLUME TRIED` runs it as a keyscript; the others get a prompt's answer where there is no server's.
    private static let beginning = """
        set -eu
        mount -t tmpfs tmpfs /run
        runner=$0
        plugins=$1
        ask() { CRYPTTAB_NAME=$1 CRYPTTAB_TRIED=$2 "$runner" --plugin-dir "$plugins" --config-file=/nonexistent; echo; }

        """

    private func run(
        _ script: String, stored plugin: String = "mandos-client", _ body: String = "printf stored"
    ) async throws -> (status: Int32, output: String, errors: String) {
        let plugins = try Plugins([
            plugin: body,
            // Slower than the server.
            "password-prompt": "while [ -e /run/server ]; do sleep 0.02; done; sleep 0.5; printf typed",
        ])
        let result = try await runInNamespaces(
            Self.beginning + "touch /run/server\n" + script, [Place.program("plugin-runner"), plugins.path.path])
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }

    @Test func `uses the server's password once for a volume, and leaves the other tries to people`() async throws {
        let result = try await run(
            """
            ask root 0
            ask home 0
            rm /run/server
            ask root 1 2>/run/errors
            grep -q 'this volume has refused' /run/errors
            # Another run of cryptsetup's scripts, after the last try.
            ask root 0
            stat -c %a /run/plugin-runner.answered
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "stored\nstored\ntyped\ntyped\n600\n")
    }

    /// Another client, say, or a copy of ours with another name.
    @Test(arguments: ["echo fetches >&3;", "echo fetches >&3; sleep 0.2;", "echo waits >&3;", "echo will-ask >&3;", ""])
    func `uses a stored password once, whichever plugin gets it`(declaration: String) async throws {
        let result = try await run(
            "ask root 0; rm /run/server; ask root 1; ask root 2", stored: "other", declaration + " printf stored")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "stored\ntyped\ntyped\n")
    }

    @Test(arguments: [("other", "echo asks >&3;"), ("other", "echo relays >&3;"), ("askpass-fifo", "")])
    func `uses what a person types as often as it is typed`(plugin: String, declaration: String) async throws {
        let result = try await run(
            "ask root 0; ask root 1; ask root 2; [ ! -s /run/plugin-runner.answered ]", stored: plugin,
            declaration + " printf typed-elsewhere")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "typed-elsewhere\ntyped-elsewhere\ntyped-elsewhere\n")
    }

    @Test func `uses it after somebody has mistyped`() async throws {
        let result = try await run("ask root 1")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "stored\n")
    }

    @Test func `uses it for a volume's first try only, where that cannot be remembered`() async throws {
        let result = try await run(
            """
            mkdir /run/plugin-runner.answered
            ask root 0
            rm /run/server
            ask root 1
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "stored\ntyped\n")
    }

    @Test func `uses it always when it is no keyscript`() async throws {
        let result = try await run(
            """
            for time in 1 2; do "$runner" --plugin-dir "$plugins" --config-file=/nonexistent; echo; done
            [ ! -e /run/plugin-runner.answered ]
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "stored\nstored\n")
    }
}
