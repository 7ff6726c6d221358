import Foundation

/// Runs the shell script `body` in new process, mount and network namespaces, with an empty `/run` and a system log that
/// writes to `/run/log`. `"$0" "$@"` is our server with options that put its state into `/run/state`.
public func inNamespace(
    _ body: String, clients: String
) async throws -> (status: Int32, output: String, errors: String) {
    let directory = try TemporaryDirectory(["clients.conf": clients])
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
        \(shellWaiting)
        # Writes what comes at the datagram socket $1 to the file $2.
        listen() {
            /usr/bin/python3 -c '
        import os, socket, sys
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind(sys.argv[1])
        os.chmod(sys.argv[1], 0o666)
        out = open(sys.argv[2], "ab", buffering=0)
        while True: out.write(log.recv(65536) + b"\\n")
        ' "$1" "$2" &
            eventually test -S "$1"
        }
        listen /dev/log /run/log
        \(body)
        """
    let options = ["--configdir", directory.path, "--statedir", "/run/state", "--port", "4711"]
    let result = try await runInNamespaces(
        script, [Place.program("mandos")] + options + ["--no-zeroconf", "--no-dbus"], ownNetwork: true)
    return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
}

/// A Python program that executes its arguments with a standard error that blocks: a full pipe.
public let withStuckErrors = """
    import os, sys
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True: os.write(writing, b"x" * 4096)
    except BlockingIOError: pass
    os.set_blocking(writing, True)
    os.set_inheritable(reading, True)
    os.dup2(writing, 2)
    os.execv(sys.argv[1], sys.argv[1:])
    """

/// The beginning of a shell script that mounts a writable copy of the root file system at `$new`, below the directory `$1`,
/// with an empty `/run` and a new `/dev`. Changes are gone with the mount namespace.
public let rootOfItsOwn = """
    set -eu
    root=$1/root
    mkdir $root
    mount -t tmpfs tmpfs $root
    mkdir $root/upper $root/work $root/all
    mount -t overlay overlay -o lowerdir=/,upperdir=$root/upper,workdir=$root/work $root/all
    new=$root/all
    mount -t tmpfs tmpfs $new/run
    mount -t tmpfs tmpfs $new/dev
    mknod -m 666 $new/dev/null c 1 3
    mknod -m 666 $new/dev/urandom c 1 9
    mount -t proc proc $new/proc
    """
