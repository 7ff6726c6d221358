import Foundation

/// Runs the shell script `body` in a process, mount and network namespace of its own, with an empty `/run`, a system log
/// that writes to `/run/log`, and the Mandos user's own `/run/state`. `"$0" "$@"` is our server and its options.
func inNamespace(
    _ body: String, clients: String
) async throws -> (status: Int32, output: String, errors: String) {
    let directory = try Directory()
    try directory.write(clients, to: "clients.conf")
    let script = """
        set -eu
        mount -t tmpfs tmpfs /run
        mount -t tmpfs tmpfs /dev
        mknod -m 666 /dev/null c 1 3
        mknod -m 666 /dev/zero c 1 5
        mknod -m 666 /dev/urandom c 1 9
        mount -t proc proc /proc
        ip link set lo up
        clients=$2/clients.conf
        listen() {
            /usr/bin/python3 -c '
        import os, socket, sys
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind(sys.argv[1])
        os.chmod(sys.argv[1], 0o666)
        out = open(sys.argv[2], "ab", buffering=0)
        while True: out.write(log.recv(65536) + b"\\n")
        ' "$1" "$2" &
            until [ -S "$1" ]; do sleep 0.02; done
        }
        listen /dev/log /run/log
        # Waits until file $1 has the line $2.
        wait_for() {
            for _ in $(seq 500); do grep -q "$2" "$1" 2>/dev/null && return; sleep 0.02; done
            echo "did not see $2 in:" >&2
            cat "$1" >&2
            exit 9
        }
        \(body)
        """
    let options = ["--configdir", directory.path, "--statedir", "/run/state", "--port", "4711"]
    let result = try await run(
        "/usr/bin/unshare",
        ["--fork", "--pid", "--kill-child", "--mount", "--net", "/bin/sh", "-c", script, Place.program("mandos")]
            + options + ["--no-zeroconf", "--no-dbus"])
    return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
}
