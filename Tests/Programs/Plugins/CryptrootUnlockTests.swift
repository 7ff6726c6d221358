import Foundation
import TestSupport
import Testing

/// The bridge to cryptroot-unlock, in a root file system with stand-ins for everything around it: `askpass` is a copy of
/// Python, because our program looks for a process with that name.
@Suite(.needsRoot) struct `mandos-to-cryptroot-unlock` {
    private static let program = "mandos-to-cryptroot-unlock"

    /// Like Debian's askpass: opens the FIFO without waiting, and reads it to the end.
    private static let askpass = """
        import os, select, sys
        fifo = "/lib/cryptsetup/passfifo"
        if not os.path.exists(fifo): os.mkfifo(fifo, 0o600)
        end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        select.select([end], [], [])
        os.set_blocking(end, True)
        given = b""
        while piece := os.read(end, 65536): given += piece
        open("/run/given", "ab").write(given + b"|")
        """

    /// Lays out a root file system from the files in `$1` and our program `$2`, and runs the script `$3` in it.
    private static let outside = """
        \(rootOfItsOwn)
        # What a boot, or another program, has left behind there is none of ours.
        rm -rf $new/usr/lib/cryptsetup $new/usr/lib/mandos
        mkdir -p $new/usr/lib/cryptsetup $new/usr/lib/mandos
        cp "$(readlink -f /usr/bin/python3)" $new/usr/lib/cryptsetup/askpass
        cp $1/askpass.py $new/run/
        cp $1/plugin-runner $new/usr/lib/mandos/plugin-runner
        cp $1/cryptroot-unlock $new/usr/bin/cryptroot-unlock
        cp $2 $new/usr/lib/mandos/\(program)
        cp ${2%/*}/plugin-runner $new/usr/lib/mandos/real-plugin-runner
        chmod 755 $new/usr/lib/mandos/plugin-runner $new/usr/bin/cryptroot-unlock
        exec chroot $new /bin/sh -c "$3"
        """

    /// `start` starts our program, and `stop` ends it; `prompt VOLUME` asks until it has got an answer.
    private static let inside = """
        set -eu
        \(shellWaiting)
        cd /
        echo 'printf secret' >/run/runner
        echo 'cat >/lib/cryptsetup/passfifo' >/run/unlock
        pidfile=/run/\(program).pid
        start() {
            /lib/mandos/\(program) 2>/run/errors &
            ours=$!
            eventually [ -s $pidfile ]
        }
        prompt() { CRYPTTAB_NAME=$1 /lib/cryptsetup/askpass -S -E /run/askpass.py; }
        # Waits until the command succeeds.
        until_it() { eventually "$@" || { cat /run/errors >&2; exit 9; }; }
        stop() { kill "$(cat $pidfile)"; wait $ours && status=0 || status=$?; [ ! -e $pidfile ]; }

        """

    /// Runs a shell script in the root file system. What was given to prompts is in `/run/given`, each with a `|` behind it.
    /// plugin-runner does what `/run/runner` says, cryptroot-unlock what `/run/unlock` says.
    private func inRoot(_ body: String) async throws -> (status: Int32, output: String, errors: String) {
        let directory = try TemporaryDirectory([
            "askpass.py": Self.askpass, "plugin-runner": "#!/bin/sh\necho \"$*\" >>/run/runs\n. /run/runner\n",
            "cryptroot-unlock": "#!/bin/sh\n. /run/unlock\n",
        ])
        let result = try await runInNamespaces(
            Self.outside, ["sh", directory.path, Place.program(Self.program), Self.inside + body])
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }

    @Test func `hands the password to each prompt, also one that comes before it`() async throws {
        let result = try await inRoot(
            """
            echo 'sleep 1; printf secret' >/run/runner
            start
            prompt one
            prompt two
            stop
            cat /run/given
            [ "$(wc -l </run/runs)" = 1 ]
            cat /run/runs
            [ $status = 143 ]
            [ ! -s /run/errors ]
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(
            result.output == "secret|secret|--disable=askpass-fifo --disable=password-prompt --disable=plymouth\n")
    }

    @Test func `gets the password from our plugin-runner, without the plugins that would ask beside askpass`()
        async throws
    {
        let result = try await inRoot(
            """
            cp /lib/mandos/real-plugin-runner /lib/mandos/plugin-runner
            mkdir -p /lib/mandos/plugins.d
            cd /lib/mandos/plugins.d
            printf '#!/bin/sh\nsleep 1000 >&- & echo $! >/run/left; until [ -s /run/idles ]; do sleep 0.02; done; printf secret\n' >gives
            printf '#!/bin/sh\necho $$ >/run/idles; exec sleep 1000\n' >idles
            printf '#!/bin/sh\ntouch /run/has-asked; printf wrong\n' >password-prompt
            chmod 755 *
            start
            prompt one
            prompt two
            # What one plugin has left behind, too.
            for process in idles left; do eventually has_ended "$(cat /run/$process)"; done
            stop
            cat /run/given
            [ ! -e /run/has-asked ]
            cat /run/errors
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret|secret|")
    }

    @Test func `gives every byte, also of a long password`() async throws {
        let result = try await inRoot(
            #"""
            echo "printf 'a\\nb\\0c\\\\ \\377 '; head -c 200000 /dev/zero" >/run/runner
            mknod -m 666 /dev/zero c 1 5
            start
            prompt one
            sh /run/runner >/run/expected
            printf '|' >>/run/expected
            cmp /run/expected /run/given
            stop
            """#)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `tries again when cryptroot-unlock came too early`() async throws {
        let result = try await inRoot(
            """
            echo '[ -e /run/tried ] || { touch /run/tried; exit 1; }; cat >/lib/cryptsetup/passfifo' >/run/unlock
            start
            prompt one
            stop
            cat /run/given
            [ "$(wc -l </run/runs)" = 1 ]
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "secret|")
    }

    @Test func `gives a volume no password that it has refused, but asks for another`() async throws {
        let result = try await inRoot(
            """
            cat >/run/runner <<'RUNNER'
            if [ "$(wc -l </run/runs)" -lt 3 ]; then printf old; else printf new; fi
            RUNNER
            echo 'cat >/lib/cryptsetup/passfifo; grep -q new /run/given' >/run/unlock
            start
            prompt one
            prompt one
            stop
            cat /run/given
            wc -l </run/runs
            cat /run/errors
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(
            result.output == """
                old|new|3
                \(Self.program): one has refused the password; trying again, or type the password on the console

                """)
    }

    /// Two servers, say, one of which nobody has told the new password, and the other neither.
    @Test(arguments: [true, false])
    func `gives each of several passwords once, and leaves the last try to people`(areTriesCounted: Bool) async throws {
        let result = try await inRoot(
            """
            prompt() { \(areTriesCounted ? "export CRYPTTAB_TRIED=$2;" : "") CRYPTTAB_NAME=$1 /lib/cryptsetup/askpass -S -E /run/askpass.py; }
            cat >/run/runner <<'RUNNER'
            case $(wc -l </run/runs) in
                1) printf one ;;
                2) printf two ;;
                *) printf \(areTriesCounted ? "three" : "one") ;;
            esac
            RUNNER
            echo 'cat >/lib/cryptsetup/passfifo; false' >/run/unlock
            start
            prompt root 0
            prompt root 1
            prompt root 2 &
            runs() { [ "$(wc -l </run/runs)" -ge 4 ]; }
            eventually \(areTriesCounted ? "grep -q 'root: the last try is for people' /run/errors" : "runs")
            sleep 1
            printf typed >/lib/cryptsetup/passfifo
            wait $!
            stop
            cat /run/given
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "one|two|typed|")
    }

    @Test func `leaves nothing running when it is killed`() async throws {
        let result = try await inRoot(
            """
            cp /lib/mandos/real-plugin-runner /lib/mandos/plugin-runner
            mkdir -p /lib/mandos/plugins.d
            printf '#!/bin/sh\\necho $PPID >/run/parent; echo $$ >/run/idles; exec sleep 1000\\n' >/lib/mandos/plugins.d/idles
            chmod 755 /lib/mandos/plugins.d/idles
            start
            eventually [ -s /run/idles ]
            kill -KILL $ours
            for process in parent idles; do eventually has_ended "$(cat /run/$process)"; done
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `runs plugin-runner again after a failure, less and less often`() async throws {
        let result = try await inRoot(
            """
            echo 'cut -d" " -f1 /proc/uptime >>/run/times; exit 3' >/run/runner
            start
            three_times() { [ "$(wc -l </run/times)" -ge 3 ]; }
            until_it three_times
            stop
            awk 'NR > 1 && $1 - before < 0.99 * 2 ^ (NR - 2) { print "too soon" } { before = $1 }' /run/times
            cat /run/errors
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(
            result.output
                == "\(Self.program): plugin-runner: exit status 3; trying again, or type the password on the console\n")
    }

    @Test func `lets plugin-runner clean up when it is asked to end`() async throws {
        let result = try await inRoot(
            """
            echo 'trap "sleep 0.3; touch /run/clean; exit 1" TERM; touch /run/ready; sleep 1000 & wait' >/run/runner
            start
            until_it [ -e /run/ready ]
            stop
            [ -e /run/clean ]
            [ $status = 143 ]
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `ends cryptroot-unlock with it`() async throws {
        let result = try await inRoot(
            """
            echo 'cat >/lib/cryptsetup/passfifo; echo $$ >/run/waiting; exec sleep 1000' >/run/unlock
            start
            prompt one
            until_it [ -s /run/waiting ]
            stop
            ! kill -0 "$(cat /run/waiting)" 2>/dev/null
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `is done when cryptroot-unlock has nothing left to open`() async throws {
        let result = try await inRoot(
            """
            echo 'exit 0' >/run/unlock
            start
            prompt one &
            wait $ours
            [ ! -e $pidfile ]
            [ ! -e /run/given ]
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test(arguments: [
        ("rm /lib/mandos/plugin-runner", "no /lib/mandos/plugin-runner in this initramfs"),
        ("rm /usr/bin/cryptroot-unlock", "no /bin/cryptroot-unlock in this initramfs"),
    ])
    func `says what is missing`(preparation: String, message: String) async throws {
        let result = try await inRoot("\(preparation); exec /lib/mandos/\(Self.program)")
        #expect(result.status == 69)
        #expect(result.errors.contains(message), "\(result.errors)")
    }

    @Test func `runs once only`() async throws {
        let result = try await inRoot(
            """
            start
            if /lib/mandos/\(Self.program) 2>/run/second; then exit 3; else [ $? = 69 ]; fi
            cat /run/second
            [ -s $pidfile ]
            stop
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "\(Self.program): another one runs already, see /run/\(Self.program).pid\n")
    }
}
