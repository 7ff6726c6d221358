import Foundation
import TestSupport
import Testing

/// The server as a daemon, in a namespace with a system log.
@Suite(.needsRoot) struct `The daemon` {
    @Test func `goes into the background when it works, logs to syslog, and stops`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Data("secret".utf8))
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            "$0" "$@" --debuglevel INFO
            wait_for /run/log 'serving address=:: port=4711'
            pid=$(cat /run/mandos.pid)
            [ "$(ps -o ppid= -p "$pid" | tr -d ' ')" = 1 ]
            [ "$(readlink "/proc/$pid/cwd")" = / ]
            [ "$(readlink "/proc/$pid/fd/2")" = /dev/null ]
            \(Place.program("mandos-client")) --connect=::1:4711 \(keys.clientOptions.joined(separator: " "))
            wait_for /run/log '<30>.*mandos\\[[0-9]*\\]: secret sent.*client.name=foo'
            kill "$pid"
            eventually has_ended "$pid"
            [ ! -s /run/mandos.pid ]
            if grep 'thread priority' /run/log >&2; then exit 4; fi
            """, clients: section)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret")
    }

    @Test func `leaves the PID file of another one alone`() async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            "$0" "$@"
            pid=$(cat /run/mandos.pid)
            kill -0 "$pid"
            status=0
            "$0" "$@" --port 4712 || status=$?
            [ $status = 71 ]
            [ "$(cat /run/mandos.pid)" = "$pid" ]
            # One that was killed leaves its file behind, which is no obstacle.
            kill -9 "$pid"
            eventually has_ended "$pid"
            "$0" "$@"
            [ "$(cat /run/mandos.pid)" != "$pid" ]
            kill -0 "$(cat /run/mandos.pid)"
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("a server runs in the background already"))
    }

    @Test func `serves, checks and ends although its log is stuck`() async throws {
        let keys = try await Keys.make()
        let section =
            try await keys.section("foo", password: Data("secret".utf8))
            + "interval = PT1S\nchecker = echo >>/run/state/checks\n"
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            # Its standard error is a pipe that is full.
            /usr/bin/python3 -c '\(withStuckErrors)' "$0" "$@" --foreground --debuglevel DEBUG & server=$!
            \(Place.program("mandos-client")) --connect=::1:4711 --retry=0.2 \(keys.clientOptions.joined(separator: " "))
            checked() { [ "$(wc -l </run/state/checks)" -ge 3 ]; }
            eventually checked
            kill "$server"
            wait "$server"
            """, clients: section)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret")
    }

    @Test func `says on the terminal what keeps it from starting`() async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            echo 'no database, but long enough to be looked at' >/run/state/clients.sqlite
            if "$0" "$@"; then exit 3; fi
            [ ! -s /run/mandos.pid ]
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("clients.sqlite is damaged"))
    }

    @Test(arguments: ["nobody", "root"])
    func `starts with few capabilities, whether its state belongs to its user or to root`(owner: String) async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            touch /run/state/lock
            chmod 600 /run/state/lock
            chown -R \(owner): /run/state
            setpriv --bounding-set -all,+chown,+dac_read_search,+net_bind_service,+net_raw,+setgid,+setuid "$0" "$@"
            kill "$(cat /run/mandos.pid)"
            [ "$(stat --format='%u %a' /run/state)" = "65534 700" ]
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `gives no other file to its user, and no other directory`() async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state /run/elsewhere
            chown nobody: /run/state
            touch /run/elsewhere/symbolic /run/elsewhere/hard /run/state/clients.conf
            ln -s /run/elsewhere/symbolic /run/state/clients.symbolic
            ln /run/elsewhere/hard /run/state/clients.hard
            mkfifo /run/state/clients.fifo
            "$0" "$@"
            kill "$(cat /run/mandos.pid)"
            for file in /run/elsewhere /run/elsewhere/* /run/state/clients.conf; do [ "$(stat --format=%u $file)" = 0 ]; done
            chmod 755 /run/elsewhere
            if "$0" "$@" --statedir /run/elsewhere; then exit 3; fi
            [ "$(stat --format=%u /run/elsewhere)" = 0 ]
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("probably not meant for the state"))
    }

    @Test(arguments: ["lock", "clients.sqlite"])
    func `says with --check that a file of its state cannot be opened`(name: String) async throws {
        let result = try await inNamespace(
            """
            mkdir -m 700 /run/state
            "$0" "$@"
            pid=$(cat /run/mandos.pid)
            kill "$pid"
            eventually has_ended "$pid"
            "$0" "$@" --check
            chown 12345 /run/state/\(name)
            if "$0" "$@" --check; then exit 3; fi
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("opening /run/state/\(name): Permission denied"), "\(result.errors)")
    }
}
