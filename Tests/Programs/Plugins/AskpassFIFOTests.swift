import Foundation
import TestSupport
import Testing

/// askpass-fifo in a namespace with an empty /lib/cryptsetup.
@Suite(.needsRoot) struct `askpass-fifo` {
    /// Runs a shell script. `$askpass` is our program, set-uid root; `$fifo` the FIFO; `$as_nobody` before a program runs it
    /// as plugins are run; `give` writes the output of its arguments to the FIFO as soon as that is there.
    private func inNamespace(_ body: String) async throws -> (status: Int32, output: Data, errors: String) {
        let script = """
            set -eu
            \(shellWaiting)
            mount -t tmpfs -o mode=755 tmpfs /run
            mkdir /run/upper /run/work
            mount -t overlay overlay -o lowerdir=/usr/lib,upperdir=/run/upper,workdir=/run/work /usr/lib
            # What is left behind on this machine, such as a FIFO, is none of ours.
            rm -rf /usr/lib/cryptsetup
            mkdir -m 755 /usr/lib/cryptsetup
            cp "$0" /run/askpass-fifo
            chmod 4755 /run/askpass-fifo
            askpass=/run/askpass-fifo
            fifo=/lib/cryptsetup/passfifo
            as_nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
            give() {
                timeout 120 sh -c 'until [ -p "$0" ]; do sleep 0.02; done; "$@" >"$0"' "$fifo" "$@"
            }
            # Waits until process $1 has the FIFO open, and waits for a writer.
            wait_for_start() { eventually has_fifo_open "$1"; }
            has_fifo_open() { readlink /proc/$1/fd/* | grep -qx /usr/lib/cryptsetup/passfifo; }
            \(body)
            """
        return try await runInNamespaces(script, [Place.program("askpass-fifo")])
    }

    @Test func `makes a FIFO for its owner alone, and prints what is written to it`() async throws {
        let result = try await inNamespace(
            #"""
            give printf 'a\0b\303\266\n\n' &
            umask 0
            $as_nobody "$askpass"
            [ "$(stat -c '%A %u' "$fifo")" = 'prw------- 0' ]
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("a\0bö\n\n".utf8))
        #expect(result.errors.isEmpty)
    }

    @Test func `reads until the last writer closes, and waits on if one says nothing`() async throws {
        let result = try await inNamespace(
            """
            mkfifo -m 600 "$fifo"
            "$askpass" &
            give true
            sleep 0.2
            kill -0 $!
            give sh -c 'printf abc; sleep 0.3; printf def'
            wait $!
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("abcdef".utf8))
    }

    @Test func `is alone: a second one would have each wait for the other`() async throws {
        let result = try await inNamespace(
            """
            "$askpass" &
            wait_for_start $!
            status=0
            "$askpass" || status=$?
            [ $status = 75 ]
            give printf secret
            wait $!
            give printf '; and another' &
            "$askpass"
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("secret; and another".utf8))
        #expect(result.errors == "askpass-fifo: another one reads /lib/cryptsetup/passfifo already\n")
    }

    @Test func `has no privilege left while it waits, and uses no time`() async throws {
        let result = try await inNamespace(
            """
            $as_nobody "$askpass" &
            wait_for_start $!
            eventually grep -q '^Uid:.65534.65534.65534.65534$' /proc/$!/status
            grep -q '^Gid:.65534.65534.65534.65534$' /proc/$!/status
            give true
            rests() {
                before=$(grep ctxt_switches /proc/$!/status)
                sleep 1
                [ "$(grep ctxt_switches /proc/$!/status)" = "$before" ]
            }
            eventually rests
            $as_nobody kill $!
            status=0
            wait $! || status=$?
            [ $status = 143 ]
            [ -p "$fifo" ]
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)])
    func `dies of the signal that stops it, also with a writer that never ends, and prints nothing`(
        signal: String, status: Int
    ) async throws {
        let result = try await inNamespace(
            """
            # The shell has what it starts with & ignore two of them.
            env --default-signal "$askpass" &
            askpass_process=$!
            wait_for_start $askpass_process
            (printf half; exec sleep 1000) >"$fifo" &
            sleep 0.2
            kill -\(signal) $askpass_process
            kill $!
            wait $askpass_process
            """)
        #expect(result.status == status, "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: [
        (#"echo hello >"$fifo""#, "is no FIFO"),
        (#"mkfifo /run/other; ln -s /run/other "$fifo""#, "is no FIFO"),
        (#"ln -s /run/nowhere "$fifo""#, "is no FIFO"),
        (#"mkdir "$fifo""#, "is no FIFO"),
        ("rmdir /usr/lib/cryptsetup", "make its directory"),
        (#"chmod 755 "$askpass""#, "creating the FIFO /lib/cryptsetup/passfifo: Permission denied; "),
        (#"chmod 755 "$askpass"; mkfifo -m 600 "$fifo""#, "opening /lib/cryptsetup/passfifo: Permission denied; "),
    ])
    func `says what is wrong with the FIFO, and leaves it`(preparation: String, message: String) async throws {
        let result = try await inNamespace(
            """
            \(preparation)
            ls -lR /usr/lib/cryptsetup >/run/before 2>&1 || true
            status=0
            $as_nobody timeout 120 "$askpass" || status=$?
            ls -lR /usr/lib/cryptsetup 2>&1 | cmp - /run/before
            [ ! -e /run/nowhere ]
            exit $status
            """)
        #expect(result.status == 72, "\(result.errors)")
        #expect(result.errors.contains("askpass-fifo: ") && result.errors.contains(message), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: [(1 << 20, 0), (1 << 20 + 1, 65)])
    func `takes a mebibyte, and not a byte more`(size: Int, status: Int) async throws {
        let result = try await inNamespace(
            #"""
            give head -c \#(size) /dev/zero &
            "$askpass"
            """#)
        #expect(result.status == Int32(status), "\(result.errors)")
        #expect(result.output == Data(count: status == 0 ? size : 0))
    }

    @Test(arguments: [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
    func `fails when the password cannot be written`(redirection: String, message: String) async throws {
        let result = try await inNamespace(
            """
            give printf abc &
            "$askpass" \(redirection)
            """)
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains(message))
    }

    /// plugin-runner(8mandos) gives global options to every plugin.
    @Test func `works whatever options it is given`() async throws {
        let result = try await inNamespace(
            """
            give printf abc &
            "$askpass" --debug operand
            "$askpass" --version | grep -q '^askpass-fifo [0-9]'
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("abc".utf8))
        #expect(result.errors.contains("\"--debug\""))
    }
}
