import Foundation
import TestSupport
import Testing

/// The server while its state cannot be saved.
@Suite(.needsRoot) struct `State that cannot be kept` {
    @Test func `on a full disk takes no right away in word only, and gives none`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Data("secret".utf8))
        let client = "\(Place.program("mandos-client")) --connect=::1:4711 \(keys.clientOptions.joined(separator: " "))"
        let result = try await inNamespace(
            """
            fill() { dd if=/dev/zero of=/run/state/fill bs=4096 2>/dev/null || true; }
            begin() {
                "$0" "$@" --foreground --debuglevel INFO 2>/run/err & server=$!
                wait_for /run/err ' serving'
            }
            mkdir -m 700 /run/state
            mount -t tmpfs -o size=400k,mode=700 tmpfs /run/state
            begin "$@"
            fill

            # A reload that cannot be saved has not happened.
            cp "$clients" /run/clients
            echo 'enabled = no' >>"$clients"
            kill -HUP "$server"
            wait_for /run/err 'not reloaded: nothing has changed.*disk is full'

            # A client whose time is over gets nothing, saved or not.
            { cat /run/clients; echo 'timeout = PT2S'; echo 'interval = PT1S'; echo 'checker = false'; } >"$clients"
            rm /run/state/fill
            kill -HUP "$server"
            wait_for /run/err 'configuration reloaded'
            fill
            wait_for /run/err 'state not saved.*disk is full'
            wait_for /run/err 'client disabled'
            \(client) 2>/run/client & asking=$!
            wait_for /run/client 'it has no secret for us'
            kill "$asking"

            # With no room for the state there is no start.
            kill -9 "$server"; wait "$server" || true
            if "$0" "$@" --foreground 2>/run/refusal; then exit 3; fi
            grep -q 'disk is full' /run/refusal

            # And with room again the client is still cut off.
            rm /run/state/fill
            cp /run/clients "$clients"
            begin "$@"
            \(client) 2>/run/client & asking=$!
            wait_for /run/client 'it has no secret for us'
            kill "$asking" "$server"
            """, clients: section)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: [
        (":", "there is no directory /run/state for the state; run: install -d -m 700 /run/state"),
        ("mkdir /run/state; mount -t tmpfs -o ro,mode=700 tmpfs /run/state", "Read-only file system"),
        ("touch /run/state", "/run/state"),
    ])
    func `is said at the start`(preparation: String, message: String) async throws {
        let result = try await inNamespace(
            """
            \(preparation)
            if "$0" "$@" --foreground; then exit 3; fi
            if "$0" "$@" --check; then exit 4; fi
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.ranges(of: message).count >= 2, "\(result.errors)")
    }
}
