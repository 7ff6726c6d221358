import Foundation
import Testing

/// The server as a daemon, in a process and mount namespace of its own with a system log in it.
@Suite(.enabled(if: Root.isHere, Root.reason)) struct `The daemon` {
    /// Runs `body` there, with `$mandos` and its options set and `/run/log` being what was logged.
    private func inside(_ body: String, clients: String) async throws -> (status: Int32, output: String, errors: String)
    {
        let directory = try Directory()
        try directory.write(clients, to: "clients.conf")
        let script = """
            set -eu
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs /dev
            mknod -m 666 /dev/null c 1 3
            mknod -m 666 /dev/urandom c 1 9
            mount -t proc proc /proc
            /usr/bin/python3 -c '
            import socket
            log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            log.bind("/dev/log")
            import os; os.chmod("/dev/log", 0o666)
            out = open("/run/log", "ab", buffering=0)
            while True: out.write(log.recv(65536) + b"\\n")
            ' &
            until [ -S /dev/log ]; do sleep 0.02; done
            wait_for() { for _ in $(seq 300); do grep -q "$1" /run/log && return; sleep 0.02; done; cat /run/log >&2; exit 9; }
            \(body)
            """
        let options = ["--configdir", directory.path, "--statedir", directory.path, "--port", "4711"]
        let result = try await run(
            "/usr/bin/unshare",
            ["--fork", "--pid", "--kill-child", "--mount", "--net", "/bin/sh", "-c", script, Place.program("mandos")]
                + options + ["--no-zeroconf", "--no-dbus"])
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }

    @Test func `goes into the background when it works, logs to syslog, and stops`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Data("secret".utf8))
        let result = try await inside(
            """
            ip link set lo up
            "$0" "$@" --debuglevel INFO
            wait_for 'serving address=:: port=4711'
            pid=$(cat /run/mandos.pid)
            [ "$(ps -o ppid= -p "$pid" | tr -d ' ')" = 1 ]
            [ "$(readlink "/proc/$pid/cwd")" = / ]
            [ "$(readlink "/proc/$pid/fd/2")" = /dev/null ]
            \(Place.program("mandos-client")) --connect=::1:4711 \(keys.options.joined(separator: " "))
            wait_for '<30>.*mandos\\[[0-9]*\\]: secret sent.*client.name=foo'
            kill "$pid"
            for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.02; done
            ! kill -0 "$pid" 2>/dev/null
            [ ! -s /run/mandos.pid ]
            """, clients: section)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret")
    }

    @Test func `says on the terminal what keeps it from starting`() async throws {
        let result = try await inside(
            """
            echo 'no database, but long enough to be looked at' >"$2/clients.sqlite"
            if "$0" "$@"; then exit 3; fi
            [ ! -s /run/mandos.pid ]
            """, clients: "[DEFAULT]\n")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("clients.sqlite is damaged"))
    }
}
